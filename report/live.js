
// ---------------------------------------------------------------------------------------------------- a live decoder

const RATE_HZ = 16000;

/** What a decoder makes of a representation that the listener changes. */
function makeLive(section) {
  const { network } = data;
  const channels = network.encoder.at(-1).convolution[3];
  const fields = Object.fromEntries([...section.querySelectorAll("select, input")].map((field) => [field.name, field]));
  const [message, wave, play, changed] = [".told", ".wave", ".play", ".changed"].map((selector) => section.querySelector(selector));
  let worker = null; // made for the first job
  const heard = new Map(); // clip -> its samples at its own level, at 16 kHz
  const sent = new Set(); // clips that the worker has
  const gains = new Array(channels).fill(1);
  let wanted = 0; // changes that the listener has made
  let running = null; // a promise until the newest of them is heard

  class LivePlayer extends Player {
    get context() {
      return speakers;
    }
  }
  let player = null;

  /** The samples that the network sees of a clip: at its own level, padded with silence, on the scale of [0, 1]. */
  async function samplesOf(i) {
    const clip = data.clips[i];
    if (!heard.has(i)) {
      const sound = new Player([clip.sounds[0]], clip.seconds);
      await sound.load(new OfflineAudioContext(1, 1, RATE_HZ));
      const [start, length] = [Math.round(sound.lead * RATE_HZ), Math.round(sound.seconds * RATE_HZ)];
      heard.set(i, sound.buffers[0].getChannelData(0).slice(start, start + length));
    }
    const [offset, scale] = clip.level;
    const x = new Float32Array(network.clip_samples).fill(scale > 0 ? -offset / scale : 0);
    if (scale > 0) x.set(heard.get(i).map((y) => (y - offset) / scale));
    return x;
  }

  function read() {
    const chosen = (name) => (fields[name]?.value ? Number(fields[name].value) : null);
    const clip = chosen("clip");
    const phase = chosen("phase");
    const masks = { own: clip, none: null, "": network.masks[phase] ? clip : null }[fields.masks.value];
    const clipOfMasks = masks === undefined ? chosen("masks") : masks;
    const blend = Number(fields.blend.value) / 100;
    return { clip, other: chosen("other"), blend, masks: clipOfMasks, bits: chosen("bits") ?? 0, gains, phase };
  }

  /** Decode what is set now. One job at a time: of what changes meanwhile, only the newest is worth the wait. */
  function run() {
    wanted++;
    message.textContent = "decoding …";
    running ??= decodeAll().finally(() => (running = null));
    return running;
  }

  async function decodeAll() {
    for (let done = 0; done !== wanted; ) {
      done = wanted;
      const job = read();
      const needed = [...new Set([job.clip, job.other, job.masks])].filter((i) => i !== null && !sent.has(i));
      const samples = await Promise.all(needed.map(async (i) => [i, await samplesOf(i)]));
      for (const i of needed) sent.add(i);
      if (!worker) startWorker();
      const answer = new Promise((answered) => (worker.onmessage = ({ data: message }) => answered(message)));
      worker.postMessage({ samples, job });
      show(job, await answer);
      if (done !== wanted) message.textContent = "decoding …";
    }
  }

  function startWorker() {
    const code = document.querySelector("#network").textContent;
    worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    worker.postMessage({ weights: network });
  }

  function show(job, { y, seconds }) {
    const original = heard.get(job.clip);
    const [offset, scale] = data.clips[job.clip].level;
    const rebuilt = y.slice(0, original.length).map((value) => value * scale + offset);
    const buffers = [original, rebuilt].map((sound) => {
      const buffer = new AudioBuffer({ length: sound.length, sampleRate: RATE_HZ });
      buffer.copyToChannel(sound, 0);
      return buffer;
    });
    const length = original.length / RATE_HZ;
    if (!player || player.clip !== job.clip) {
      player?.pause();
      player = new LivePlayer(["", ""], length, showPlayer);
      Object.assign(player, { clip: job.clip, version: 1, lead: 0 });
      section.querySelector(".card").player = player;
    }
    player.buffers = buffers;
    if (player.sources.length) player.seek(player.position()); // go on with the new sound
    const db = siSdr(original, rebuilt);
    const level = Number.isFinite(db) ? `SI-SDR ${signed(db, 1)} dB` : "no SI-SDR: one of the two is constant";
    message.textContent = `decoded in ${seconds.toFixed(2)} s, ${level}`;
    const most = Math.max(1e-9, ...buffers.map((buffer) => buffer.getChannelData(0).reduce((a, b) => Math.max(a, Math.abs(b)), 0)));
    wave.replaceChildren(...buffers.map((buffer, i) => path(`w${i} v${i}`, shape(buffer.getChannelData(0), most))));
    section.result = rebuilt;
    showPlayer();
  }

  function showPlayer() {
    const { playing, version } = player;
    play.textContent = playing ? "❚❚" : "▶";
    play.setAttribute("aria-label", playing ? "Pause" : "Play what was decoded, or the original");
    showVersion(section.querySelector(".card"), version);
    fields.heard.closest("fieldset").querySelectorAll("input")[version].checked = true;
  }

  function showChannels() {
    const others = [...gains.entries()].filter(([, gain]) => gain !== 1).map(([channel, gain]) => `${channel}: ${Math.round(100 * gain)} %`);
    changed.textContent = others.length ? `Changed channels: ${others.join(", ")}` : "All channels as they are.";
    fields.gain.value = Math.round(100 * gains[fields.channel.value]);
    section.querySelector(".percent").textContent = `${fields.gain.value} %`;
  }

  for (const i of data.chosen) {
    for (const name of ["clip", "other", "masks"]) fields[name].append(make("option", { value: i }, data.clips[i].name));
  }
  fields.other.selectedIndex = Math.min(1, data.chosen.length - 1);
  data.phases.slice(1).forEach((title, i) => fields.phase.append(make("option", { value: i }, title)));
  if (network.fold) fields.masks.closest("label").hidden = true;
  for (let bits = 8; bits > 0; bits--) fields.bits.append(make("option", { value: bits }, `${bits} bit${bits > 1 ? "s" : ""}`));
  fields.channel.max = channels - 1;
  for (const name of ["clip", "phase", "masks", "blend", "other", "bits"]) fields[name].addEventListener("input", run);
  fields.blend.addEventListener("input", () => (section.querySelector(".share").textContent = `${fields.blend.value} %`));
  function isChannel() {
    const fits = fields.channel.value !== "" && fields.channel.checkValidity();
    if (!fits) changed.textContent = `Channel: needs a whole number from 0 to ${channels - 1}.`;
    return fits;
  }
  fields.channel.addEventListener("input", () => isChannel() && showChannels());
  function set(change) {
    if (!isChannel()) return;
    gains.forEach((gain, channel) => (gains[channel] = change(gain, channel, Number(fields.channel.value))));
    showChannels();
    run();
  }
  fields.gain.addEventListener("input", () => set((gain, k, chosen) => (k === chosen ? Number(fields.gain.value) / 100 : gain)));
  section.querySelector(".mute").addEventListener("click", () => set((gain, k, chosen) => (k === chosen ? 0 : gain)));
  section.querySelector(".only").addEventListener("click", () => set((gain, k, chosen) => Number(k === chosen)));
  section.querySelector(".reset").addEventListener("click", () => set(() => 1));
  for (const input of section.querySelectorAll("fieldset input")) {
    input.addEventListener("change", () => player?.choose(Number(input.value)));
  }
  play.addEventListener("click", async () => {
    if (!player) await run();
    if (!player) return;
    player.playing ? player.pause() : player.play();
  });
  section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  showChannels();
  section.run = run;
}

/** SI-SDR in dB of a rebuilt sound, as speech/snr.py has it: means removed; NaN where either is constant. */
function siSdr(original, rebuilt) {
  const mean = (sound) => sound.reduce((sum, y) => sum + y, 0) / sound.length;
  const [meanX, meanY] = [mean(original), mean(rebuilt)];
  const rounding = 1e-20 * original.length; // what is left of a constant, against the square of its mean
  let [xx, xy, yy] = [0, 0, 0];
  for (let i = 0; i < original.length; i++) {
    const [x, y] = [original[i] - meanX, rebuilt[i] - meanY];
    xx += x * x;
    xy += x * y;
    yy += y * y;
  }
  if (xx <= rounding * meanX ** 2 || yy <= rounding * meanY ** 2) return NaN;
  const target = xy ** 2 / xx;
  return 10 * Math.log10(target / Math.max(1e-12, yy - target));
}

/** A waveform as a path in the box of a .wave, its loudest sample `most`. */
function shape(sound, most) {
  const columns = 600;
  const [low, high] = [[], []];
  for (let i = 0; i < columns; i++) {
    const start = Math.floor((i * sound.length) / columns);
    const part = sound.subarray(start, Math.max(start + 1, Math.floor(((i + 1) * sound.length) / columns)));
    high.push(`${i} ${((-127 * Math.max(...part)) / most).toFixed(1)}`);
    low.unshift(`${i} ${((-127 * Math.min(...part)) / most).toFixed(1)}`);
  }
  return `M${[...high, ...low].join("L")}Z`;
}

if (data.network) makeLive(document.querySelector("#live"));
