const data = JSON.parse(document.querySelector("#data").textContent);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const LOOP_S = 0.05; // the shortest part that is repeated
const MP3_LEAD_S = 1105 / 16000; // silence that an MP3 begins with, where the browser does not cut it off
const FADE_S = 0.002; // time constant of a switch: no click, and no gap

// ---------------------------------------------------------------------------------------------------- sound

let speakers = null; // made by the first click, as browsers demand
let sounding = null; // one sound at a time

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Versions of a clip that play together, of which one is heard. */
class Player {
  constructor(uris, seconds, changed = () => {}) {
    Object.assign(this, { uris, seconds, changed });
    this.version = 0;
    this.levels = uris.map(() => 1); // gains
    this.offset = 0; // where playing began, or goes on
    this.loop = null; // [from, to] in seconds
    this.sources = [];
    this.playing = false;
  }

  async load(context) {
    this.context = context;
    const sounds = this.uris.map((uri) => context.decodeAudioData(bytes(uri.slice(uri.indexOf(",") + 1)).buffer));
    this.buffers = await Promise.all(sounds);
    const { duration } = this.buffers[0];
    this.lead = duration > this.seconds + MP3_LEAD_S ? MP3_LEAD_S : 0;
    this.seconds = Math.min(this.seconds, duration);
  }

  async play() {
    if (sounding && sounding !== this) sounding.pause();
    sounding = this;
    this.playing = true;
    speakers ??= new AudioContext();
    if (speakers.state === "suspended") await speakers.resume();
    if (!this.buffers) await this.load(speakers);
    if (this.playing && sounding === this) this.start();
  }

  /** Start all versions at once; only the chosen one has a gain. */
  start() {
    this.stop();
    if (this.offset >= this.seconds - 0.01) this.offset = 0;
    const now = this.context.currentTime;
    this.began = now;
    this.sources = this.buffers.map((buffer, version) => {
      const source = new AudioBufferSourceNode(this.context, { buffer });
      const gain = new GainNode(this.context, { gain: version === this.version ? this.levels[version] : 0 });
      if (this.loops()) {
        const [loopStart, loopEnd] = this.loop.map((edge) => edge + this.lead);
        Object.assign(source, { loop: true, loopStart, loopEnd });
      }
      source.connect(gain).connect(this.context.destination);
      if (this.loops()) source.start(now, this.lead + this.offset);
      else source.start(now, this.lead + this.offset, this.seconds - this.offset);
      return { source, gain };
    });
    this.sources[0].source.onended = () => {
      this.offset = this.seconds;
      this.sources = [];
      this.playing = false;
      this.changed();
    };
    this.changed();
  }

  stop() {
    for (const { source, gain } of this.sources) {
      source.onended = null;
      source.stop();
      gain.disconnect();
    }
    this.sources = [];
  }

  loops() {
    return this.loop !== null && this.offset < this.loop[1];
  }

  position() {
    if (!this.sources.length) return this.offset;
    const raw = this.offset + this.context.currentTime - this.began;
    if (!this.loops()) return Math.min(raw, this.seconds);
    const [from, to] = this.loop;
    return raw < to ? raw : from + ((raw - from) % (to - from));
  }

  pause() {
    this.offset = this.position();
    this.playing = false;
    this.stop();
    this.changed();
  }

  seek(seconds) {
    const running = this.sources.length > 0;
    this.stop();
    this.offset = Math.max(0, Math.min(seconds, this.seconds));
    if (running) this.start();
    this.changed();
  }

  choose(version) {
    this.version = version;
    this.sources.forEach(({ gain }, i) => {
      gain.gain.setTargetAtTime(i === version ? this.levels[i] : 0, this.context.currentTime, FADE_S);
    });
    this.changed();
  }

  repeat(from, to) {
    const position = this.position();
    const running = this.sources.length > 0;
    this.stop();
    this.loop = to - from < LOOP_S ? null : [from, to];
    this.offset = this.loop && (position < from || position >= to) ? from : position;
    if (running) this.start();
    this.changed();
  }
}

// ---------------------------------------------------------------------------------------------------- small things

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function path(className, d) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", "path");
  node.setAttribute("class", className);
  node.setAttribute("d", d);
  return node;
}

function number(value) {
  if (value === null) return "-";
  return typeof value === "string" ? (value[0] === "-" ? "-∞" : "∞") : String(Number(value.toPrecision(3)));
}

/** Which colour a version has: that of its phase, whatever the run. */
function hue(version) {
  return version && ((version - 1) % 2) + 1;
}

/** Draw the waveform of a version over the original, and its distortion with a whole line. */
function showVersion(box, version) {
  box.dataset.version = version;
  for (const shape of box.querySelectorAll("svg path")) shape.classList.toggle("chosen", shape.matches(`.v${version}`));
}

function address(clip) {
  return `#clip=${encodeURIComponent(clip.name)}`;
}

// ---------------------------------------------------------------------------------------------------- players

let used = null; // the player that keys act on
const decks = new Map(); // clip -> its deck

function outline(text) {
  const wave = new Int8Array(bytes(text).buffer);
  const columns = wave.length / 2;
  const points = [];
  for (let i = 0; i < columns; i++) points.push(`${i} ${-wave[columns + i]}`);
  for (let i = columns - 1; i >= 0; i--) points.push(`${i} ${-wave[i]}`);
  return `M${points.join("L")}Z`;
}

function line(text, columns) {
  const levels = bytes(text);
  return `M${[...levels].map((level, i) => `${((columns * (i + 0.5)) / levels.length).toFixed(1)} ${255 - level}`).join("L")}`;
}

function makeDeck(clip) {
  const deck = document.querySelector("#deck").content.firstElementChild.cloneNode(true);
  const find = (selector) => deck.querySelector(selector);
  const [button, seek, time, head, stack, region] = [".play", ".seek", ".time", ".head", ".stack", ".region"].map(find);
  const [from, to, whole] = [".from", ".to", ".whole"].map(find);
  const { seconds } = clip;
  const player = new Player(clip.sounds, seconds, show);
  decks.set(clip, deck);
  deck.player = player;
  deck.setAttribute("aria-label", clip.name);
  find("h3").append(make("bdi", {}, clip.name), " ", make("span", { class: "why" }, clip.why ?? "sounds as MP3"));
  const about = [clip.label, clip.speaker && `speaker ${clip.speaker}`, clip.text && `text ${clip.text}`].filter(Boolean);
  find(".about").append(...about.flatMap((words) => [make("bdi", {}, words), ", "]), `${seconds.toFixed(2)} s`);
  find("legend").textContent = `Version of ${clip.name}`;
  seek.max = seconds;
  seek.setAttribute("aria-label", `Position in ${clip.name} in seconds`);
  const versions = data.phases.map((title, version) => {
    const input = make("input", { type: "radio", name: `version-${data.clips.indexOf(clip)}`, value: version });
    input.addEventListener("change", () => player.choose(version));
    find("fieldset").append(make("label", {}, input, make("span", { class: `c${hue(version)}` }, title)));
    return input;
  });

  find(".wave").setAttribute("aria-label", `Waveforms of ${clip.name}`);
  find(".wave").append(...clip.waves.map((wave, i) => path(`w${hue(i)} v${i}`, outline(wave))));
  find(".curve").setAttribute("aria-label", `Distortion of ${clip.name} over time`);
  const columns = find(".wave").viewBox.baseVal.width;
  find(".curve").append(...clip.curves.map((curve, i) => path(`l${hue(i + 1)} v${i + 1}`, line(curve, columns))));
  const [low, high] = data.scales.distortion_db;
  labelAxis(find(".distortion"), [[0, `${high} dB`], [high / (high - low), "0"], [1, signed(low)]]);
  if (!clip.curves.length) find(".distortion").remove();
  const reveal = addPictures(deck, clip, player);
  clip.worst.forEach((segments, phase) => {
    const paragraph = make("p", { class: "worst" }, `Worst segments of speech, ${data.phases[phase + 1]}: `);
    for (const [start, end, db] of segments) {
      const text = `${start.toFixed(2)} to ${end.toFixed(2)} s: ${db > 0 ? "+" : ""}${signed(db, 1)} dB`;
      const label = `${text}, play ${clip.name} ${data.phases[phase + 1]}`;
      const go = make("button", { type: "button", "aria-label": label, "data-at": start, "data-version": phase + 1 }, text);
      go.addEventListener("click", () => {
        player.choose(phase + 1);
        player.seek(start);
        if (!player.playing) player.play();
      });
      paragraph.append(go, " ");
    }
    if (!segments.length) paragraph.append("none can be told.");
    find("details").before(paragraph);
    const noise = clip.pause_noise_db[phase];
    if (noise === null) return;
    const level = `${signed(noise, 1)} dB against speech.`;
    find("details").before(make("p", { class: "pauses" }, `Noise in pauses, ${data.phases[phase + 1]}: ${level}`));
  });
  find("thead tr").append(...data.phases.slice(1).map((title) => make("th", { scope: "col" }, title)));
  data.measures.forEach((measure, i) => {
    if (!data.shown.includes(measure.name)) return;
    const cells = clip.values.map((values) => make("td", {}, number(values[i])));
    find("tbody").append(make("tr", {}, make("th", { scope: "row" }, measure.title), ...cells));
  });

  let moving = false;
  let seen = 0; // the position that was scrolled to
  function show() {
    const now = player.position();
    const { playing, version, loop } = player;
    if (deck.dataset.version !== String(version)) showVersion(deck, version);
    deck.dataset.position = now;
    versions[version].checked = true;
    head.style.left = `${(100 * now) / seconds}%`;
    if (now !== seen) reveal((seen = now) / seconds);
    time.textContent = `${now.toFixed(2)} of ${seconds.toFixed(2)} s`;
    if (document.activeElement !== seek || playing) seek.value = now;
    region.hidden = whole.hidden = loop === null;
    if (loop) {
      region.style.left = `${(100 * loop[0]) / seconds}%`;
      region.style.width = `${(100 * (loop[1] - loop[0])) / seconds}%`;
      const words = `${loop[0].toFixed(2)} to ${loop[1].toFixed(2)} s`;
      whole.textContent = `Do not repeat ${words}`;
    }
    const text = playing ? "❚❚" : "▶";
    if (button.textContent !== text) button.textContent = text;
    const label = `${playing ? "Pause" : "Play"} ${clip.name}, ${data.phases[version]}`;
    button.setAttribute("aria-label", playing ? label : `${label}, from ${now.toFixed(2)} s`);
    if (player.sources.length && !moving) animate();
  }

  function animate() {
    moving = player.sources.length > 0;
    if (!moving) return;
    show();
    if (still.matches) setTimeout(animate, 250);
    else requestAnimationFrame(animate);
  }

  function second(event) {
    const box = find(".over").getBoundingClientRect();
    return Math.max(0, Math.min(seconds, (seconds * (event.clientX - box.left)) / box.width));
  }

  let pressed = null;
  stack.addEventListener("pointerdown", (event) => {
    pressed = event.button ? null : event.clientX;
    stack.setPointerCapture(event.pointerId);
  });
  stack.addEventListener("pointermove", (event) => {
    if (pressed === null || Math.abs(event.clientX - pressed) < 5) return;
    const [a, b] = [second({ clientX: pressed }), second(event)].sort((x, y) => x - y);
    region.hidden = false;
    region.style.left = `${(100 * a) / seconds}%`;
    region.style.width = `${(100 * (b - a)) / seconds}%`;
  });
  stack.addEventListener("pointerup", (event) => {
    if (pressed === null) return;
    const [a, b] = [second({ clientX: pressed }), second(event)].sort((x, y) => x - y);
    if (Math.abs(event.clientX - pressed) < 5) player.seek(a);
    else player.repeat(a, b);
    pressed = null;
  });
  stack.addEventListener("pointercancel", () => {
    pressed = null;
    show();
  });
  button.addEventListener("click", () => (player.playing ? player.pause() : player.play()));
  seek.addEventListener("input", () => player.seek(Number(seek.value)));
  from.addEventListener("click", () => player.repeat(player.position(), player.loop?.[1] ?? seconds));
  to.addEventListener("click", () => player.repeat(player.loop?.[0] ?? 0, player.position()));
  whole.addEventListener("click", () => player.repeat(0, 0));
  show();
  return deck;
}

for (const i of data.chosen) document.querySelector("#decks").append(makeDeck(data.clips[i]));

for (const name of ["pointerdown", "focusin"]) {
  document.addEventListener(name, (event) => {
    const deck = event.target.closest(".deck, .card");
    if (deck) used = deck.player ?? null;
    else if (!event.target.closest("#all")) used = null;
  });
}

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (!used || event.ctrlKey || event.metaKey || event.altKey || target.matches("select, input[type=search]")) return;
  const version = Number(key) - 1;
  const step = { ArrowLeft: -0.1, ArrowRight: 0.1 }[key];
  if (version >= 0 && version < used.uris.length) {
    used.choose(version);
    target.closest(".plays")?.children[version].focus(); // the button that Space would now press
  }
  else if (key === " " && !target.matches("button, summary, a")) used.playing ? used.pause() : used.play();
  else if (step && !target.matches("input")) used.seek(used.position() + step * (event.shiftKey ? 10 : 1));
  else return;
  event.preventDefault();
});

// ---------------------------------------------------------------------------------------------------- all clips

const FIRST = 20; // rows before "show all"
const all = document.querySelector("#all");
const filters = document.querySelector("#filters");
const search = document.querySelector("#find");
const phase = document.querySelector("#phase");
const more = document.querySelector("#more");
const facets = ["label", "speaker", "text"].filter((key) => new Set(data.clips.map((clip) => clip[key])).size > 1);
const columns = data.measures.map((measure, i) => ({ ...measure, i })).filter(({ name }) => data.shown.includes(name));
const order = { key: "name", down: false };
const players = new Map(); // clip -> the player of its row
let everything = false;

function value(clip, key) {
  if (typeof key !== "number") return clip[key];
  const measured = clip.values[phase.value][key];
  return measured === null ? NaN : Number(measured);
}

function compare(a, b) {
  const [x, y] = [value(a, order.key), value(b, order.key)];
  if (typeof x === "string") return (order.down ? -1 : 1) * x.localeCompare(y, "en", { numeric: true });
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y); // the undefined are last, always
  return (order.down ? -1 : 1) * (x < y ? -1 : x > y ? 1 : 0);
}

function heading(title, key, down) {
  const button = make("button", { type: "button" }, title);
  const cell = make("th", { scope: "col" }, button);
  button.addEventListener("click", () => {
    Object.assign(order, { down: order.key === key ? !order.down : down, key });
    for (const other of all.querySelectorAll("th")) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    list();
  });
  return cell;
}

function playerOf(clip) {
  if (decks.has(clip)) return decks.get(clip).player;
  if (!players.has(clip)) {
    const player = new Player(clip.sounds, clip.seconds, () => mark(clip, player));
    players.set(clip, player);
  }
  return players.get(clip);
}

function mark(clip, player) {
  const row = [...all.tBodies[0].rows].find((other) => other.clip === clip);
  row?.querySelectorAll(".plays button").forEach((button, version) => {
    const playing = player.playing && player.version === version;
    button.textContent = playing ? "❚❚" : "▶";
    button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${clip.name}, ${data.phases[version]}, ${clip.seconds.toFixed(2)} s`);
  });
}

function rowOf(clip) {
  const name = clip.sounds ? make("a", { href: address(clip) }, clip.name) : clip.name;
  const plays = make("td", { class: "plays" });
  if (clip.sounds) {
    data.phases.forEach((title, version) => {
      const label = `Play ${clip.name}, ${title}, ${clip.seconds.toFixed(2)} s`;
      const button = make("button", { type: "button", class: `c${hue(version)}`, title, "aria-label": label }, "▶");
      button.addEventListener("click", () => {
        const player = (used = playerOf(clip));
        if (player.playing && player.version === version) player.pause();
        else {
          player.choose(version);
          if (!player.playing) player.play();
        }
        mark(clip, player);
      });
      plays.append(button);
    });
  } else plays.append("no room");
  const words = facets.map((key) => make("td", clip[key].length > 24 ? { class: "word" } : {}, clip[key]));
  const cells = columns.map(({ i }) => make("td", {}, number(clip.values[phase.value][i])));
  const row = make("tr", {}, make("th", { scope: "row" }, name), plays, ...words, make("td", {}, clip.seconds.toFixed(2)), ...cells);
  row.clip = clip;
  return row;
}

function list() {
  const wanted = facets.map((key) => filters.querySelector(`#by-${key}`).value);
  const typed = search.value.trim().toLowerCase();
  const clips = data.clips.filter(
    (clip) => facets.every((key, k) => !wanted[k] || `=${clip[key]}` === wanted[k]) && clip.name.toLowerCase().includes(typed),
  );
  clips.sort(compare);
  const shown = everything ? clips : clips.slice(0, FIRST);
  all.tBodies[0].replaceChildren(...shown.map(rowOf));
  if (sounding) for (const clip of shown) if (clip.sounds && playerOf(clip) === sounding) mark(clip, sounding);
  document.querySelector("#counted").textContent = `${clips.length} of ${data.clips.length} test clips, ${data.phases[Number(phase.value) + 1]}`;
  more.hidden = shown.length === clips.length;
  more.textContent = `Show all ${clips.length}`;
}

data.phases.slice(1).forEach((title, i) => phase.append(make("option", { value: i }, title)));
for (const key of facets) {
  const names = [...new Set(data.clips.map((clip) => clip[key]))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const options = names.map((name) => make("option", { value: `=${name}` }, name || "-"));
  const select = make("select", { id: `by-${key}` }, make("option", { value: "" }, "all"), ...options);
  filters.append(make("label", {}, key[0].toUpperCase() + key.slice(1), select));
}
all.tHead.rows[0].append(
  heading("clip", "name", false),
  make("th", { scope: "col" }, `play ${data.phases.map((title) => title.replace(/,? ?after /, " ").trim()).join(", ")}`),
  ...facets.map((key) => heading(key, key, false)),
  heading("seconds", "seconds", true),
  ...columns.map(({ title, i, ascending }) => heading(title, i, !ascending)),
);
for (const name of ["input", "change"]) filters.addEventListener(name, list);
filters.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => {
  everything = true;
  list();
});
all.tBodies[0].addEventListener("click", (event) => {
  const { clip } = event.target.closest("tr");
  if (clip.sounds && !event.target.closest("button, a")) location.hash = address(clip);
});

/** Open the clip that the address names: report.html#clip=NAME */
async function open() {
  if (!location.hash.startsWith("#clip=")) return;
  const clip = data.clips.find((other) => address(other) === location.hash && other.sounds);
  if (!clip) return;
  if (!decks.has(clip) && !clip.spectrograms) await addSpectrograms(clip).catch(() => {}); // sounds that no browser reads
  if (address(clip) !== location.hash) return; // another was asked for meanwhile
  if (!decks.has(clip)) {
    const place = document.querySelector("#opened");
    for (const deck of place.children) deck.player.pause();
    place.replaceChildren(makeDeck(clip));
    players.get(clip)?.pause();
  }
  const deck = decks.get(clip);
  if (!deck.isConnected) document.querySelector("#opened").replaceChildren(deck);
  deck.scrollIntoView({ block: "start" });
  deck.querySelector(".play").focus({ preventScroll: true });
}

list();
addEventListener("hashchange", open);
open();
