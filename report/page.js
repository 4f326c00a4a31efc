"use strict";

let sounding = null; // one sound at a time

function play(audio) {
  if (sounding && sounding !== audio) sounding.pause();
  sounding = audio;
  audio.play().catch((reason) => {
    if (reason.name !== "AbortError") throw reason; // paused again before it began is no fault
  });
}

for (const deck of document.querySelectorAll(".deck")) {
  const audios = [...deck.querySelectorAll("audio")];
  const button = deck.querySelector(".play");
  const seek = deck.querySelector(".seek");
  const time = deck.querySelector(".time");
  const head = deck.querySelector(".head");
  const stack = deck.querySelector(".stack");
  const versions = [...deck.querySelectorAll("fieldset input")];
  const seconds = Number(deck.dataset.seconds);
  let chosen = 0;

  function show() {
    const now = Math.min(audios[chosen].currentTime, seconds);
    const playing = !audios[chosen].paused;
    head.style.left = `${(100 * now) / seconds}%`;
    time.textContent = `${now.toFixed(2)} of ${seconds.toFixed(2)} s`;
    if (document.activeElement !== seek || playing) seek.value = now;
    button.textContent = playing ? "❚❚" : "▶";
    button.setAttribute("aria-pressed", playing);
    if (playing) requestAnimationFrame(show);
  }

  function choose(version) {
    const before = audios[chosen];
    const after = audios[version];
    deck.dataset.version = version;
    versions[version].checked = true;
    if (before === after) return;
    const playing = !before.paused;
    before.pause();
    after.currentTime = before.currentTime;
    chosen = version;
    if (playing) play(after);
    show();
  }

  function move(to) {
    audios[chosen].currentTime = Math.max(0, Math.min(to, seconds));
    show();
  }

  button.addEventListener("click", () => (audios[chosen].paused ? play(audios[chosen]) : audios[chosen].pause()));
  seek.addEventListener("input", () => move(Number(seek.value)));
  versions.forEach((input, version) => input.addEventListener("change", () => choose(version)));
  stack.addEventListener("click", (event) => {
    const box = stack.getBoundingClientRect();
    move((seconds * (event.clientX - box.left)) / box.width);
  });
  for (const moment of deck.querySelectorAll(".moment")) {
    moment.addEventListener("click", () => {
      choose(Number(moment.dataset.version));
      move(Number(moment.dataset.at));
      play(audios[chosen]);
    });
  }
  for (const audio of audios) {
    for (const name of ["play", "pause", "ended", "seeked", "loadedmetadata"]) audio.addEventListener(name, show);
  }
  show();
}

const measure = document.querySelector("#measure");
const distributions = [...document.querySelectorAll(".distribution")];
measure.addEventListener("change", () => distributions.forEach((each, i) => (each.hidden = i !== Number(measure.value))));
measure.dispatchEvent(new Event("change")); // a page that is loaded again may remember another choice

const plane = document.querySelector("#plane");
const hovered = document.querySelector("#hovered");
const heard = document.querySelector("#heard");
const sounds = JSON.parse(document.querySelector("#sounds").textContent);
const points = [...plane.querySelectorAll("circle")].sort((a, b) => a.cx.baseVal.value - b.cx.baseVal.value);
let current = -1;

function mark(index) {
  if (current >= 0) points[current].classList.remove("on");
  current = index;
  if (current < 0) return;
  const { name, about, clip } = points[current].dataset;
  points[current].classList.add("on");
  hovered.textContent = `${name}: ${about}${clip in sounds ? "" : ", its sound is not in this page"}`;
}

function nearest(event) {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plane.getScreenCTM().inverse());
  let best = -1;
  let distance = 25;
  points.forEach((point, i) => {
    const d = Math.hypot(point.cx.baseVal.value - at.x, point.cy.baseVal.value - at.y);
    if (d < distance) [best, distance] = [i, d];
  });
  return best;
}

function hear() {
  const sound = current < 0 ? undefined : sounds[points[current].dataset.clip];
  if (sound === undefined) return;
  heard.src = sound;
  play(heard);
}

plane.addEventListener("pointermove", (event) => {
  const index = nearest(event);
  if (index >= 0) mark(index);
});
plane.addEventListener("click", (event) => {
  const index = nearest(event);
  if (index < 0) return;
  mark(index);
  hear();
});
plane.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (step) mark((current + step + points.length) % points.length);
  else if (event.key === "Enter" || event.key === " ") hear();
  else return;
  event.preventDefault();
});
const keys = [...document.querySelectorAll(".by input")];
keys.forEach((input, k) => {
  function colour() {
    if (!input.checked) return;
    for (const point of points) point.setAttribute("fill", point.dataset.colours.split(" ")[k]);
    for (const legend of document.querySelectorAll(".legend")) legend.hidden = legend.dataset.by !== input.value;
  }
  input.addEventListener("change", colour);
  colour();
});
