"use strict";

// The trained network, forward, in a worker. A signal is { data: Float32Array, channels }; channel c of sample l is
// data[l * channels + c], as in the arrays (N, L, C) of nn1d. All filters are of plain convolutions of stride 1: where the
// network has a transposed one, report/live.py has turned its filters round.

function elu(x) {
  return { ...x, data: x.data.map((value) => (value > 0 ? value : Math.expm1(value))) };
}

/** y[l, o] = b[o] + Σ_{k,c} x[l + k - p, c] · w[k, c, o], p half a filter. Four sums at a time stay in registers. */
function convolve({ data, channels }, { weight, bias, taps }) {
  const outputs = bias.length;
  const length = data.length / channels;
  const y = new Float32Array(length * outputs);
  for (let l = 0; l < length; l++) {
    const start = (l - (taps >> 1)) * channels; // of the window, which the ends of the clip cut
    const from = Math.max(0, start);
    const to = Math.min(data.length, start + taps * channels);
    let o = 0;
    for (; o + 4 <= outputs; o += 4) {
      let sum0 = bias[o];
      let sum1 = bias[o + 1];
      let sum2 = bias[o + 2];
      let sum3 = bias[o + 3];
      let row = (from - start) * outputs + o;
      for (let i = from; i < to; i++, row += outputs) {
        const value = data[i];
        sum0 += value * weight[row];
        sum1 += value * weight[row + 1];
        sum2 += value * weight[row + 2];
        sum3 += value * weight[row + 3];
      }
      const place = l * outputs + o;
      y[place] = sum0;
      y[place + 1] = sum1;
      y[place + 2] = sum2;
      y[place + 3] = sum3;
    }
    for (; o < outputs; o++) {
      let sum = bias[o];
      for (let i = from; i < to; i++) sum += data[i] * weight[(i - start) * outputs + o];
      y[l * outputs + o] = sum;
    }
  }
  return { data: y, channels: outputs };
}

/** y = x + F(x), F = ELU, convolution, ELU, convolution. */
function residual(x, [first, last]) {
  const y = convolve(elu(convolve(elu(x), first)), last);
  for (let i = 0; i < y.data.length; i++) y.data[i] += x.data[i];
  return y;
}

/** Of every two samples the larger, and 1 where that is the second. */
function pool({ data, channels }) {
  const y = new Float32Array(data.length / 2);
  const mask = new Uint8Array(y.length);
  for (let i = 0; i < y.length; i++) {
    const first = i + channels * Math.floor(i / channels);
    mask[i] = data[first + channels] > data[first];
    y[i] = data[first + channels * mask[i]];
  }
  return [{ data: y, channels }, mask];
}

/** Every sample where the mask says, and 0 beside it; without a mask twice. */
function unpool({ data, channels }, mask) {
  const y = new Float32Array(2 * data.length);
  for (let i = 0; i < data.length; i++) {
    const first = i + channels * Math.floor(i / channels);
    if (!mask || !mask[i]) y[first] = data[i];
    if (!mask || mask[i]) y[first + channels] = data[i];
  }
  return { data: y, channels };
}

/** Samples (L,) in [0, 1] -> the representation, and the masks of the pools. */
function encode(network, samples) {
  let x = { data: samples, channels: 1 };
  const masks = [];
  network.encoder.forEach((stage, i) => {
    if (i > 0) x = elu(x);
    if (network.fold) x = { ...x, channels: 2 * x.channels };
    x = residual(convolve(x, stage.convolution), stage.residual);
    if (network.fold) return;
    [x, masks[i]] = pool(x);
  });
  return { z: x, masks };
}

/** A representation, and masks or null -> samples (L,) in [0, 1]. */
function decode(network, phase, z, masks) {
  const stages = network.decoders[phase];
  stages.forEach((stage, i) => {
    z = elu(z);
    if (!network.fold) z = unpool(z, masks?.at(-1 - i));
    z = convolve(z, stage.convolution);
    if (network.fold) z = { ...z, channels: z.channels / 2 };
    z = residual(z, stage.residual);
  });
  return network.output === "linear" ? z.data : z.data.map((value) => Math.max(0, Math.min(1, 0.2 * value + 0.5)));
}

/** Each channel at 2^bits levels, at equal steps from its minimum to its maximum. */
function quantise({ data, channels }, bits) {
  const y = data.slice();
  for (let c = 0; c < channels; c++) {
    let [low, high] = [Infinity, -Infinity];
    for (let i = c; i < data.length; i += channels) [low, high] = [Math.min(low, data[i]), Math.max(high, data[i])];
    const step = (high - low) / (2 ** bits - 1);
    for (let i = c; step > 0 && i < data.length; i += channels) y[i] = low + step * Math.round((data[i] - low) / step);
  }
  return { data: y, channels };
}

/** The weights of network.json as arrays. */
function unpack(network) {
  const letters = atob(network.weights);
  const numbers = new Float32Array(Uint8Array.from(letters, (letter) => letter.charCodeAt(0)).buffer);
  const layer = ([start, taps, inputs, outputs]) => {
    const end = start + taps * inputs * outputs;
    return { taps, weight: numbers.subarray(start, end), bias: numbers.subarray(end, end + outputs) };
  };
  const stages = (list) => list.map((stage) => ({ convolution: layer(stage.convolution), residual: stage.residual.map(layer) }));
  return { ...network, encoder: stages(network.encoder), decoders: network.decoders.map(stages) };
}

/** What a job asks for: encodings of the clips that it names, changed, decoded. */
function work(network, encodings, { clip, other, blend, masks, bits, gains, phase }) {
  let z = encodings.get(clip).z;
  if (blend > 0) z = { ...z, data: z.data.map((value, i) => (1 - blend) * value + blend * encodings.get(other).z.data[i]) };
  if (bits > 0) z = quantise(z, bits);
  z = { ...z, data: z.data.map((value, i) => value * gains[i % z.channels]) };
  return decode(network, phase, z, masks === null || network.fold ? null : encodings.get(masks).masks);
}

if (typeof WorkerGlobalScope !== "undefined") {
  let network;
  const encodings = new Map();
  self.onmessage = ({ data: { weights, samples, job } }) => {
    if (weights) network = unpack(weights);
    for (const [clip, x] of samples ?? []) encodings.set(clip, encode(network, x));
    if (!job) return;
    const began = performance.now();
    const y = work(network, encodings, job);
    self.postMessage({ y, seconds: (performance.now() - began) / 1000 }, [y.buffer]);
  };
}
