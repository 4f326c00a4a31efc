
// ------------------------------------------------------------------------------- spectrograms of clips without pictures

/** The discrete Fourier transform in place: re and im of a power of two of numbers. */
function transform(re, im) {
  const size = re.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j], im[i], im[j]] = [re[j], re[i], im[j], im[i]];
  }
  for (let half = 1; half < size; half *= 2) {
    for (let k = 0; k < half; k++) {
      const [c, s] = [Math.cos((Math.PI * k) / half), -Math.sin((Math.PI * k) / half)];
      for (let i = k; i < size; i += 2 * half) {
        const [a, b] = [re[i + half] * c - im[i + half] * s, re[i + half] * s + im[i + half] * c];
        re[i + half] = re[i] - a;
        im[i + half] = im[i] - b;
        re[i] += a;
        im[i] += b;
      }
    }
  }
}

/** Levels [dB] of mel bands, frame by frame, as log_mel in report/figure.py has them before it looks for the loudest. */
function melLevels(samples) {
  const { hz, window: size, rate } = data.scales;
  const corners = [0, ...hz, rate / 2];
  const hann = Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
  const last = samples.length - 1;
  const mirrored = (i) => samples[i < 0 ? -i : i > last ? 2 * last - i : i];
  const frames = [];
  for (let centre = 0; centre <= samples.length; centre += size / 4) {
    const re = hann.map((weight, i) => weight * mirrored(centre - size / 2 + i));
    const im = new Float64Array(size);
    transform(re, im);
    frames.push(Float64Array.from(hz, (_, band) => {
      const [from, peak, to] = corners.slice(band, band + 3);
      let sum = 0;
      for (let f = Math.ceil((from * size) / rate); f <= Math.min(size / 2, (to * size) / rate); f++) {
        const frequency = (f * rate) / size;
        const weight = Math.min((frequency - from) / (peak - from), (to - frequency) / (to - peak));
        sum += weight * Math.hypot(re[f], im[f]);
      }
      return 20 * Math.log10(Math.max((2 / (to - from)) * sum, 1e-12));
    }));
  }
  return frames;
}

/** Give a clip the spectrograms of its sounds, as bytes like those of the clips that were chosen. */
async function addSpectrograms(clip) {
  const { hz, bytes_db: [low, high], level_db: [least], rate, window: size } = data.scales;
  const player = new Player(clip.sounds, clip.seconds);
  await player.load(new OfflineAudioContext(1, 1, rate));
  const count = Math.round(player.seconds * rate);
  if (count <= size / 2) return; // too short for one
  const first = Math.round(player.lead * rate);
  const versions = player.buffers.map((buffer) => melLevels(buffer.getChannelData(0).subarray(first, first + count)));
  const loudest = Math.max(...versions[0].map((frame) => Math.max(...frame)));
  clip.spectrograms = versions.map((frames) => {
    const levels = new Uint8Array(hz.length * frames.length);
    frames.forEach((frame, column) => {
      frame.forEach((level, band) => {
        const shown = Math.min(high, Math.max(least, level - loudest));
        levels[band * frames.length + column] = Math.round(((shown - low) * 255) / (high - low));
      });
    });
    return levels;
  });
}
