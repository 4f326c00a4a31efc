
// ---------------------------------------------------------------------------------------------------- blind listening

const ANCHOR_HZ = 3800; // the edge of the anchor: flat to 3.5 kHz, 25 dB down at 4 kHz, as ITU-R BS.1534-3 asks
const ANCHOR_TAPS = 161; // at 16 kHz
const HIDDEN_LEAST = 90; // what a careful listener gives to the hidden reference

function draw(count) {
  const limit = 2 ** 32 - (2 ** 32 % count);
  const number = new Uint32Array(1);
  do crypto.getRandomValues(number);
  while (number[0] >= limit);
  return number[0] % count;
}

function shuffled(items) {
  const mixed = [...items];
  for (let i = mixed.length - 1; i > 0; i--) {
    const k = draw(i + 1);
    [mixed[i], mixed[k]] = [mixed[k], mixed[i]];
  }
  return mixed;
}

/** The probability of so many right answers or more by guessing: Σ_{k ≥ right} C(trials, k) / 2^trials. */
function guessing(right, trials) {
  let term = 0.5 ** trials;
  let sum = 0;
  for (let k = 0; k <= trials; k++) {
    if (k >= right) sum += term;
    term *= (trials - k) / (k + 1);
  }
  return Math.min(1, sum);
}

/** Gains that bring sounds to the root mean square of the first; all lower where one would clip. */
function matched(sounds) {
  const rms = sounds.map((sound) => Math.sqrt(sound.reduce((sum, y) => sum + y * y, 0) / sound.length));
  const gains = rms.map((level) => (level > 0 && rms[0] > 0 ? rms[0] / level : 1));
  const peaks = sounds.map((sound, i) => gains[i] * sound.reduce((most, y) => Math.max(most, Math.abs(y)), 0));
  return gains.map((gain) => gain / Math.max(1, ...peaks));
}

/** What a sound is below ANCHOR_HZ: a windowed sinc (Hamming) without delay. */
function lowPassed(sound, rate) {
  const half = Math.round(((ANCHOR_TAPS / 2) * rate) / 16000);
  const taps = Array.from({ length: 2 * half + 1 }, (_, k) => {
    const t = k - half;
    const sinc = t ? Math.sin((2 * Math.PI * ANCHOR_HZ * t) / rate) / (Math.PI * t) : (2 * ANCHOR_HZ) / rate;
    return sinc * (0.54 + 0.46 * Math.cos((Math.PI * t) / half));
  });
  return sound.map((_, i) => {
    let y = 0;
    for (let k = Math.max(0, half - i); k < Math.min(taps.length, sound.length + half - i); k++) y += taps[k] * sound[i + k - half];
    return y;
  });
}

/** A player of versions of a clip at one level, in an order that only it knows. Version -1 is the anchor. */
class BlindPlayer extends Player {
  constructor(clip, order, changed) {
    super(clip.sounds, clip.seconds, changed);
    this.order = order;
  }

  async load(context) {
    await super.load(context);
    const sounds = this.buffers.map((buffer) => buffer.getChannelData(0));
    const anchor = this.order.includes(-1) ? lowPassed(sounds[0], context.sampleRate) : sounds[0];
    const gains = matched([...sounds, anchor]);
    const [{ length, sampleRate }] = this.buffers;
    const last = new AudioBuffer({ length, sampleRate });
    last.copyToChannel(anchor, 0);
    this.levels = this.order.map((version) => gains.at(version));
    this.buffers = this.order.map((version) => (version < 0 ? last : this.buffers[version]));
  }
}

function quoted(rows) {
  return rows.map((row) => row.map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(",") + "\r\n").join("");
}

const blind = document.querySelector("#blind");
const trial = blind.querySelector(".card");
const choices = Object.fromEntries([...blind.querySelectorAll("form select, form input")].map((field) => [field.name, field]));
const NAMES = { "-1": "low-pass anchor", ...data.phases };
let session = null;

/** Buttons that play the versions of a player, and mark the one that is heard. */
function playButtons(player, names, keys) {
  const heard = new Set();
  const buttons = names.map((name, version) => {
    const button = make("button", { type: "button", "data-key": keys[version], "aria-pressed": "false" }, name);
    button.addEventListener("click", () => {
      heard.add(version);
      const again = player.playing && player.version === version;
      player.choose(version);
      if (again) player.pause();
      else if (!player.playing) player.play();
    });
    return button;
  });
  player.changed = () => {
    buttons.forEach((button, version) => {
      button.setAttribute("aria-pressed", String(player.playing && player.version === version));
    });
    session?.ready(heard);
  };
  return buttons;
}

function next() {
  session?.player?.pause();
  if (session.done.length === session.trials.length) return finish();
  const [clip, order] = session.trials[session.done.length];
  session.player = new BlindPlayer(clip, order, () => {});
  session.began = performance.now();
  const title = `Trial ${session.done.length + 1} of ${session.trials.length}: ${clip.name}`;
  const stop = make("button", { type: "button" }, "End here");
  stop.addEventListener("click", finish);
  trial.replaceChildren(make("h3", {}, title), ...session.ask(clip, order), make("p", {}, stop));
  trial.hidden = false;
  trial.querySelector("button").focus();
}

const abx = {
  header: ["test", "trial", "clip", "A", "B", "X", "answer", "right", "seconds"],
  trials(clips, count) {
    const [a, b] = [Number(choices.a.value), Number(choices.b.value)];
    return Array.from({ length: count }, () => [clips[draw(clips.length)], [a, b, [a, b][draw(2)]]]);
  },
  ask(clip, [a, b, x]) {
    const { player } = session;
    const plays = playButtons(player, ["Play A", "Play B", "Play X"], ["a", "b", "x"]);
    const answers = [a, b].map((version, k) => {
      const button = make("button", { type: "button", disabled: true }, `X is ${"AB"[k]}`);
      button.addEventListener("click", () => {
        const seconds = ((performance.now() - session.began) / 1000).toFixed(1);
        session.done.push([[clip.name, NAMES[a], NAMES[b], NAMES[x], NAMES[version], Number(version === x), seconds]]);
        next();
      });
      return button;
    });
    session.ready = (heard) => answers.forEach((button) => (button.disabled = !heard.has(2)));
    return [make("p", { class: "row" }, ...plays), make("p", { class: "row" }, ...answers)];
  },
  result(rows) {
    const right = rows.filter((row) => row[5]).length;
    const p = guessing(right, rows.length);
    const words = p < 0.05 ? "so few would guess that: you hear the difference" : "guessing can do that: no proof of a difference";
    return [make("p", {}, `${right} of ${rows.length} right, p = ${p.toPrecision(2)} (binomial, one-sided): ${words}.`)];
  },
};

const rating = {
  header: ["test", "trial", "clip", "position", "version", "rating"],
  trials(clips) {
    const versions = [...data.phases.keys(), -1];
    return shuffled(clips).map((clip) => [clip, [0, ...shuffled(versions)]]);
  },
  ask(clip, order) {
    const names = order.map((_, k) => (k ? `Sound ${k}` : "Reference"));
    const [reference, ...plays] = playButtons(session.player, names, order.map((_, k) => String(k)));
    const sliders = plays.map((button, k) => make("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `Rating of sound ${k + 1}` }));
    const rows = plays.map((button, k) => {
      const shown = make("output", {}, "50");
      sliders[k].addEventListener("input", () => (shown.textContent = sliders[k].value));
      return make("p", { class: "row rate" }, button, sliders[k], shown);
    });
    const on = make("button", { type: "button", disabled: true }, "Next");
    on.addEventListener("click", () => {
      session.done.push(order.slice(1).map((version, k) => [clip.name, k + 1, NAMES[version], Number(sliders[k].value)]));
      next();
    });
    session.ready = (heard) => (on.disabled = heard.size < order.length);
    const scale = make("p", { class: "note" }, "0 to 20 bad, 40 poor, 60 fair, 80 good, 100 excellent: as the reference. One of the sounds is the reference.");
    return [make("p", { class: "row" }, reference), ...rows, scale, make("p", {}, on)];
  },
  result(rows) {
    const table = make("table", {}, make("caption", {}, "Mean rating, and its range"));
    for (const name of Object.values(NAMES)) {
      const values = rows.filter((row) => row[2] === name).map((row) => row[3]);
      if (!values.length) continue;
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const cells = [mean.toFixed(1), `${Math.min(...values)} to ${Math.max(...values)}`].map((cell) => make("td", {}, cell));
      table.append(make("tr", {}, make("th", { scope: "row" }, name), ...cells));
    }
    const hidden = rows.filter((row) => row[2] === NAMES[0]);
    const low = hidden.filter((row) => row[3] < HIDDEN_LEAST).length;
    const words = `The hidden reference got less than ${HIDDEN_LEAST} in ${low} of ${hidden.length} trials`;
    const rule = "; BS.1534 sets a listener aside where that is more than 15 %.";
    return [table, make("p", { class: "note" }, words + rule)];
  },
};

function finish() {
  session.player?.pause();
  const { test, done, kind } = session;
  session = null;
  const rows = done.flatMap((parts, i) => parts.map((part) => [kind, i + 1, ...part]));
  if (!rows.length) trial.replaceChildren(make("p", {}, "Ended before the first answer."));
  else {
    const file = new Blob([quoted([test.header, ...rows])], { type: "text/csv" });
    const link = make("a", { href: URL.createObjectURL(file), download: `${kind}.csv` }, `Save ${kind}.csv`);
    trial.replaceChildren(make("h3", {}, "Result"), ...test.result(rows.map((row) => row.slice(2))), make("p", {}, link));
  }
  trial.focus();
}

for (const i of data.chosen) choices.clip.append(make("option", { value: i }, data.clips[i].name));
for (const field of [choices.a, choices.b]) field.append(...data.phases.map((title, i) => make("option", { value: i }, title)));
choices.b.value = 1;
choices.kind.addEventListener("change", () => {
  for (const field of [choices.a, choices.b, choices.count]) {
    field.disabled = field.parentElement.hidden = choices.kind.value !== "ABX"; // a wrong number keeps nobody from a rating
  }
});
choices.kind.dispatchEvent(new Event("change"));
blind.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  session?.player?.pause();
  const kind = choices.kind.value;
  trial.hidden = false;
  if (kind === "ABX" && choices.a.value === choices.b.value) {
    session = null;
    return trial.replaceChildren(make("p", {}, "A and B are the same version. Choose two."));
  }
  const clips = (choices.clip.value ? [Number(choices.clip.value)] : data.chosen).map((i) => data.clips[i]);
  const test = kind === "ABX" ? abx : rating;
  session = { kind, test, ask: test.ask, trials: test.trials(clips, Number(choices.count.value)), done: [], ready() {} };
  next();
});
trial.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const button = [...trial.querySelectorAll("[data-key]")].find((other) => other.dataset.key === event.key.toLowerCase());
  button?.click();
});
