"use strict";

// ------------------------------------------------------------------------------- pictures that can be read and zoomed

const ZOOM_MOST = 32;

/** The level in dB that a byte of a spectrogram stands for. */
function decibels(byte) {
  const [low, high] = data.scales.bytes_db;
  return low + (byte * (high - low)) / 255;
}

function signed(value, digits = 0) {
  return `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(digits)}`;
}

/** Three significant digits. */
function digits(value) {
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

function kilohertz(hz) {
  return hz < 1000 ? `${hz.toFixed(0)} Hz` : `${(hz / 1000).toFixed(2)} kHz`;
}

/** Draw rows of shares of [0, 1] in the colours of a kind: level, difference or channel. The first row is at the top. */
function paint(canvas, kind, rows, columns, share) {
  const table = bytes(data.scales.colours[kind]);
  Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const colour = 3 * Math.round(255 * Math.max(0, Math.min(1, share(row, column))));
      image.data.set([table[colour], table[colour + 1], table[colour + 2], 255], 4 * (row * columns + column));
    }
  }
  context.putImageData(image, 0, 0);
}

function colourBar(kind, low, high) {
  const bar = make("canvas", { role: "img", "aria-label": `colours from ${low} to ${high}` });
  paint(bar, kind, 1, 64, (row, column) => column / 63);
  return make("span", { class: "colours" }, `${low} `, bar, ` ${high}`);
}

/** Labels [[share of the height from the top, text], ...] beside a plot. */
function labelAxis(panel, labels) {
  for (const [share, text] of labels) {
    const label = make("span", { style: `top:${100 * share}%` }, text);
    if (share <= 0) label.className = "top";
    if (share >= 1) label.className = "bottom";
    panel.querySelector(".axis").append(label);
  }
}

function makePanel(title, content, ...bar) {
  return make(
    "figure",
    { class: "panel" },
    make("figcaption", {}, title, ...bar.flatMap((scale) => [": ", scale])),
    make("div", { class: "axis" }),
    make("div", { class: "plot" }, content),
  );
}

/** Spectrograms of a clip: those of its versions, then the differences of the later ones from the first. */
function spectrogramPanels(clip) {
  const { hz, level_db, difference_db, ticks_khz } = data.scales;
  const levels = clip.spectrograms.map((content) => (typeof content === "string" ? bytes(content) : content));
  const columns = levels[0].length / hz.length;
  const axis = ticks_khz.map((khz) => {
    const above = hz.findIndex((band) => band >= 1000 * khz);
    const band = above - (hz[above] - 1000 * khz) / (hz[above] - hz[above - 1]);
    return [1 - (band + 0.5) / hz.length, String(khz)];
  });
  const level = (version, row, column) => decibels(levels[version][(hz.length - 1 - row) * columns + column]);
  const draw = (title, kind, [low, high], value, ...bar) => {
    const canvas = make("canvas", { role: "img", "aria-label": `Spectrogram of ${clip.name}, ${title}` });
    paint(canvas, kind, hz.length, columns, (row, column) => (value(row, column) - low) / (high - low));
    const panel = makePanel(title, canvas, ...bar);
    panel.classList.add("tall");
    labelAxis(panel, [[0, "kHz"], ...axis]);
    return Object.assign(panel, { rows: hz.length });
  };
  const panels = data.phases.map((title, version) => {
    const bar = colourBar("level", `${signed(level_db[0])} dB`, "0 dB, the original's loudest");
    return draw(title, "level", level_db, (row, column) => level(version, row, column), bar);
  });
  data.phases.slice(1).forEach((title, i) => {
    const [low, high] = difference_db;
    const bar = colourBar("difference", `${signed(low)} dB, weaker`, `+${high} dB, stronger than the original`);
    const difference = (row, column) => level(i + 1, row, column) - level(0, row, column);
    panels.push(draw(`${title} − original`, "difference", difference_db, difference, bar));
  });
  const read = (share, row) => {
    const column = Math.min(columns - 1, Math.floor(share * columns));
    const levelsThere = data.phases.map((title, version) => `${title} ${signed(level(version, row, column))} dB`);
    return `${kilohertz(hz[hz.length - 1 - row])}: ${levelsThere.join(", ")}`;
  };
  return panels.map((panel) => Object.assign(panel, { read, columns }));
}

/** The channels of a clip's representation as a picture, and the curve of one of them. */
function channelPanels(clip) {
  const { low, high } = clip.representation;
  const levels = bytes(clip.representation.bytes);
  const channels = low.length;
  const columns = levels.length / channels;
  const value = (channel, column) => low[channel] + (levels[channel * columns + column] * (high[channel] - low[channel])) / 255;
  const canvas = make("canvas", { role: "img", "aria-label": `Representation of ${clip.name}, ${channels} channels` });
  paint(canvas, "channel", channels, columns, (row, column) => levels[row * columns + column] / 255);
  const title = `representation, ${channels} channels from 0; click one to see its curve`;
  const picture = makePanel(title, canvas, colourBar("channel", "its minimum", "its maximum"));
  picture.querySelector(".plot").style.height = `${Math.max(6, channels / 4)}rem`;
  const step = [1, 2, 4, 8, 16, 32, 64].find((size) => channels / size <= 8) ?? 128;
  const ticks = [];
  for (let channel = 0; channel < channels; channel += step) ticks.push([(channel + 0.5) / channels, String(channel)]);
  labelAxis(picture, ticks);

  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 -5 ${columns} 265`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const curve = makePanel("", svg);
  curve.classList.add("channel");
  const choose = (channel) => {
    const points = Array.from(levels.subarray(channel * columns, (channel + 1) * columns), (y, x) => `${x + 0.5} ${255 - y}`);
    svg.replaceChildren(path("", `M${points.join("L")}`));
    const title = `channel ${channel} over time`;
    svg.setAttribute("aria-label", `${clip.name}, ${title}`);
    curve.querySelector("figcaption").textContent = title;
    curve.querySelector(".axis").replaceChildren();
    labelAxis(curve, [[0, digits(high[channel])], [1, digits(low[channel])]]);
    curve.dataset.channel = channel;
  };
  choose(0);
  const read = (share, channel) => {
    const column = Math.min(columns - 1, Math.floor(share * columns));
    return `channel ${channel}: ${digits(value(channel, column))}`;
  };
  return [Object.assign(picture, { rows: channels, columns, read, choose }), curve];
}

/** Add the pictures of a clip to its deck: one cursor over all of them, for pointer and keys, and zoom. */
function addPictures(deck, clip, player) {
  const find = (selector) => deck.querySelector(selector);
  const [stack, over, cross, reading, scroll] = [".stack", ".over", ".cross", ".reading", ".scroll"].map(find);
  const { seconds } = clip;
  const groups = [];
  if (clip.spectrograms?.length) groups.push(spectrogramPanels(clip));
  if (clip.representation) groups.push(channelPanels(clip));
  for (const panels of groups) over.before(...panels);
  const pictures = groups.flat().filter((panel) => panel.read);
  for (const panel of pictures) panel.querySelector(".plot").append(make("div", { class: "level", hidden: true }));

  /** Put the cursor at a share of the time and, in the pictures like this panel, in a row. */
  function look(share, panel, row, keys) {
    cross.hidden = false;
    cross.style.left = `${100 * share}%`;
    for (const other of pictures) {
      const line = other.querySelector(".level");
      line.hidden = other.read !== panel?.read;
      line.style.top = `${(100 * (row + 0.5)) / other.rows}%`;
    }
    reading.setAttribute("aria-live", keys ? "polite" : "off");
    reading.textContent = [`${(share * seconds).toFixed(3)} s`, panel?.read(share, row)].filter(Boolean).join(", ");
  }

  stack.addEventListener("pointermove", (event) => {
    const plot = event.target.closest(".plot");
    if (!plot) return;
    const box = plot.getBoundingClientRect();
    const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    const panel = plot.parentElement.read ? plot.parentElement : undefined;
    const row = panel && Math.max(0, Math.min(panel.rows - 1, Math.floor((panel.rows * (event.clientY - box.top)) / box.height)));
    look(share, panel, row, false);
  });

  for (const [panel] of groups) {
    const canvas = panel.querySelector(".plot canvas");
    const cursor = { column: 0, row: Math.floor(panel.rows / 2) };
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    const what = panel.choose ? "time and channels, Enter shows the curve of one" : "time and frequency, Enter moves the player there";
    canvas.setAttribute("aria-label", `${canvas.getAttribute("aria-label")}. Arrow keys move a cursor over ${what}`);
    canvas.addEventListener("focus", () => {
      if (!canvas.matches(":focus-visible")) return;
      cursor.column = Math.min(panel.columns - 1, Math.floor((panel.columns * player.position()) / seconds));
      look((cursor.column + 0.5) / panel.columns, panel, cursor.row, true);
    });
    canvas.addEventListener("keydown", (event) => {
      const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
      const share = (cursor.column + 0.5) / panel.columns;
      if (event.key === "Enter") panel.choose ? panel.choose(cursor.row) : player.seek(share * seconds);
      else if (across || down) {
        const step = event.shiftKey ? 10 : 1;
        cursor.column = Math.max(0, Math.min(panel.columns - 1, cursor.column + step * across));
        cursor.row = Math.max(0, Math.min(panel.rows - 1, cursor.row + step * down));
        look((cursor.column + 0.5) / panel.columns, panel, cursor.row, true);
        reveal((cursor.column + 0.5) / panel.columns);
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
    if (panel.choose) {
      canvas.addEventListener("pointerdown", (event) => {
        const box = canvas.getBoundingClientRect();
        cursor.row = Math.max(0, Math.min(panel.rows - 1, Math.floor((panel.rows * (event.clientY - box.top)) / box.height)));
        panel.choose(cursor.row);
      });
    }
  }

  /** Scroll so that a share of the time is seen. */
  function reveal(share, always = false) {
    const { left, width } = over.getBoundingClientRect();
    const gutter = left - stack.getBoundingClientRect().left;
    const x = left + share * width - scroll.getBoundingClientRect().left;
    const room = scroll.clientWidth - gutter;
    if (always || x < gutter || x > gutter + room) scroll.scrollLeft += x - gutter - 0.2 * room;
  }

  let zoom = 1;
  function scale(factor) {
    zoom = Math.max(1, Math.min(ZOOM_MOST, zoom * factor));
    stack.style.setProperty("--zoom", zoom);
    find(".out").disabled = zoom === 1;
    find(".in").disabled = zoom === ZOOM_MOST;
    drawTicks(find(".ticks"), seconds, zoom);
    reveal(player.position() / seconds, true);
  }
  find(".in").addEventListener("click", () => scale(2));
  find(".out").addEventListener("click", () => scale(1 / 2));
  drawTicks(find(".ticks"), seconds, 1);
  return reveal;
}

function drawTicks(ticks, seconds, zoom) {
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 600];
  const step = steps.find((size) => seconds / size <= 6 * zoom) ?? seconds;
  ticks.replaceChildren();
  for (let k = 0; k * step <= seconds; k++) {
    const percent = (100 * k * step) / seconds;
    const mark = make("span", { style: `left:${percent}%` }, `${Number((k * step).toFixed(2))} s`);
    if (percent > 100 - 5 / zoom) mark.classList.add("last");
    ticks.append(mark);
  }
}

