"""The network in the page's script against NumPy, in a real browser."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.model import WEIGHTS, Model, load_run
from nn1d.layer import named_parameters
from report import live
from speech.snr import si_sdr
from tests.browser import chromium, opened, wait_for
from training.configuration import Configuration
from training.network import build_network

pytestmark = pytest.mark.commands

NETWORK = (Path(live.__file__).parent / "network.js").read_text("utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driven:
        yield driven


def text(array: np.ndarray) -> str:
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


CODE = """
const toText = (array) => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let letters = "";
    for (let i = 0; i < bytes.length; i += 8192) letters += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(letters);
};
const toNumbers = (text) => new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
"""
BOTH_WAYS = """([described, x, z, masks]) => {
    const network = unpack(described);
    const made = encode(network, toNumbers(x));
    const representation = { data: toNumbers(z), channels: described.encoder.at(-1).convolution[3] };
    return [toText(made.z.data), made.masks.map((mask) => toText(Float32Array.from(mask))),
        toText(decode(network, 0, representation, masks && masks.map(toNumbers)))];
}"""


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"channels": (3, 5), "kernel_size": 5, "output": "linear"},
        {"pooling": "fold"},
        {"pooling": "fold", "channels": (3, 5), "kernel_size": 5, "output": "linear", "tied": True},
        {"channels": (3,), "kernel_size": 1},
    ],
    ids=["paper", "small", "fold", "small-fold", "one-stage"],
)
def test_the_script_computes_what_numpy_does(browser: Any, settings: dict[str, Any]) -> None:
    configuration, rng = Configuration(clip_samples=2048, **settings), np.random.default_rng(1)
    network = build_network(configuration, rng)
    for name, array in named_parameters(network.parameters).items():
        if name.endswith("bias"):
            array += rng.normal(0, 0.1, array.shape).astype(np.float32)
    model = Model(configuration, network, configuration.pooling == "max", threads=1)
    x = rng.uniform(0, 1, (1, 2048, 1)).astype(np.float32)
    z, masks = network.encoder.represent(x), []
    if model.masks:
        masks = network.encoder.forward(x, middle=False)[0].masks
    seconds = [mask[0].reshape(-1, 2, mask.shape[2])[:, 1] for mask in masks]  # whether it is the second of a window
    other = z + rng.normal(0, 0.5, z.shape).astype(np.float32)
    described = live.describe_network({"pre_training": model})
    tab = browser.new_page()
    tab.add_script_tag(content=NETWORK + CODE)
    for decoder_masks in (seconds, None) if masks else (None,):
        sent = None if decoder_masks is None else [text(mask) for mask in decoder_masks]
        script_z, script_masks, script_y = tab.evaluate(BOTH_WAYS, [described, text(x), text(other), sent])
        y = model.decode(other, masks if decoder_masks is not None else None)[0, :, 0]
        assert y.std() > 0.01
        assert abs(numbers(script_y) - y).max() < 1e-4
        assert abs(numbers(script_z) - z.ravel()).max() < 1e-4
        assert len(script_masks) == len(masks)
        for mask, expected in zip(script_masks, seconds, strict=True):
            assert (numbers(mask) == expected.ravel()).mean() > 0.999  # two samples may be as good as equal
    tab.close()


def test_levels_of_a_channel_are_at_equal_steps(browser: Any) -> None:
    z = np.random.default_rng(0).normal(0, 1, (100, 3)).astype(np.float32)
    z[:, 1] = 0.25
    tab = browser.new_page()
    tab.add_script_tag(content=NETWORK + CODE)
    run = "([z, bits]) => toText(quantise({ data: toNumbers(z), channels: 3 }, bits).data)"
    for bits in (1, 3, 8):
        quantised = numbers(tab.evaluate(run, [text(z), bits])).reshape(z.shape)
        assert np.array_equal(quantised[:, 1], z[:, 1])
        for channel in (0, 2):
            levels = np.linspace(z[:, channel].min(), z[:, channel].max(), 2**bits)
            nearest = levels[abs(z[:, channel, None] - levels).argmin(1)]
            assert abs(quantised[:, channel] - nearest).max() < 1e-5
    tab.close()


def test_the_si_sdr_of_what_was_decoded_is_that_of_the_table(wide: Any) -> None:
    """A decoder that has hardly learned rebuilds every clip a little too high: the means are removed on both sides."""
    rng = np.random.default_rng(2)
    x = rng.normal(0, 0.1, 4000)
    rebuilt = {"near": x + rng.normal(0, 0.05, 4000), "high": 0.2 + 0.1 * x + rng.normal(0, 0.01, 4000)}
    for y in rebuilt.values():
        shown = wide.evaluate("([x, y]) => siSdr(Float64Array.from(x), Float64Array.from(y))", [x.tolist(), y.tolist()])
        assert shown == pytest.approx(si_sdr(x, y), abs=1e-6)
    constant = "(level) => siSdr(Float32Array.of(0.1, -0.1, 0.2), Float32Array.of(level, level, level))"
    assert all(math.isnan(wide.evaluate(constant, level)) for level in (0, 0.25, 0.1))


ENCODED = """async (k) => {
    const clip = data.clips[data.chosen[k]];
    const player = new Player([clip.sounds[0]], clip.seconds);
    await player.load(new OfflineAudioContext(1, 1, 16000));
    const sound = player.buffers[0].getChannelData(0);
    const [offset, scale] = clip.level;
    const x = new Float32Array(64000).fill(-offset / scale);
    x.set(sound.map((y) => (y - offset) / scale));
    const { z, masks } = encode(unpack(data.network), x);
    return [toText(sound), offset, scale, toText(z.data), masks.map((mask) => toText(Float32Array.from(mask)))];
}"""


# how many jobs the worker is given while the blend is dragged from 1 to the last %
DRAG = """async (last) => {
    const [section, post] = [document.querySelector("#live"), Worker.prototype.postMessage];
    let jobs = 0;
    Worker.prototype.postMessage = function (message, ...rest) {
        jobs += "job" in message;
        return post.call(this, message, ...rest);
    };
    const blend = section.querySelector("[name=blend]");
    for (let percent = 1; percent <= last; percent++) {
        blend.value = percent;
        blend.dispatchEvent(new Event("input"));
    }
    const decoded = () => section.querySelector(".told").textContent.startsWith("decoded in");
    while (!decoded()) await new Promise(requestAnimationFrame);
    Worker.prototype.postMessage = post;
    return jobs;
}"""


def test_the_page_decodes_what_the_listener_asks_for(browser: Any, listened: Path) -> None:
    """Both decoders, masks, a blend, bits and gains, against NumPy on the samples that the page has."""
    models = {phase: load_run(listened, weights, threads=1) for phase, weights in WEIGHTS.items()}
    with opened(browser, (listened / "report.html").as_uri(), 700, "light") as tab:
        tab.add_script_tag(content=NETWORK + CODE)
        section = tab.locator("#live")
        choose = {
            name: section.locator(f"[name={name}]") for name in ("clip", "other", "phase", "masks", "bits", "blend")
        }

        def decoded() -> np.ndarray:
            wait_for(tab, "() => document.querySelector('.told').textContent.startsWith('decoded in')")
            return numbers(tab.evaluate("toText(document.querySelector('#live').result)"))

        def encoded(k: int) -> tuple[np.ndarray, list[np.ndarray], float, float, int]:
            """As the page encodes: where two samples of a window are as good as equal, its masks may be others."""
            heard, offset, scale, made_z, made_masks = tab.evaluate(ENCODED, k)
            waveform = numbers(heard)
            x = np.full((1, 64_000, 1), -offset / scale, np.float32)
            x[0, : len(waveform), 0] = (waveform - np.float32(offset)) / np.float32(scale)
            encoding = models["pre_training"].network.encoder.forward(x, middle=False)[0]
            made = numbers(made_z).reshape(encoding.representation.shape)
            assert abs(made - encoding.representation).max() < 1e-4
            masks = []
            for mask, expected in zip(made_masks, encoding.masks, strict=True):
                second = numbers(mask).reshape(1, -1, 1, expected.shape[2]) == 1
                masks.append(np.concatenate([~second, second], axis=2).reshape(expected.shape))
                assert (masks[-1] == expected).mean() > 0.95
            return made, masks, offset, scale, len(waveform)

        (z, masks, offset, scale, length), (other_z, other_masks, *_) = encoded(0), encoded(1)

        def off(phase: str, z: np.ndarray, masks: list[np.ndarray] | None) -> float:
            expected = models[phase].decode(z, masks)[0, :length, 0] * scale + offset
            return float(abs(decoded() - expected).max() / scale)

        section.locator(".play").click()
        assert off("pre_training", z, masks) < 1e-4
        assert tab.evaluate("sounding.playing")
        choose["masks"].select_option(index=4)  # of the second clip
        assert off("pre_training", z, other_masks) < 1e-4
        choose["phase"].select_option(label="after fine-tuning")
        choose["masks"].select_option(label="as it was trained")
        assert off("fine_tuning", z, None) < 1e-4
        choose["blend"].fill("25")
        assert off("fine_tuning", 0.75 * z + 0.25 * other_z, None) < 1e-4
        assert tab.evaluate(DRAG, 20) == 2  # the first, and of all that came while it ran the last
        assert off("fine_tuning", 0.8 * z + 0.2 * other_z, None) < 1e-4
        choose["blend"].fill("0")
        section.locator("[name=channel]").fill("4")
        assert section.locator(".changed").inner_text() == "Channel: needs a whole number from 0 to 3."
        section.locator("[name=channel]").fill("2")
        section.locator(".mute").click()
        muted = z * np.array([1, 1, 0, 1], np.float32)
        assert off("fine_tuning", muted, None) < 1e-4
        assert section.locator(".changed").inner_text() == "Changed channels: 2: 0 %"
        section.locator("[name=channel]").fill("1")
        section.locator("[name=gain]").fill("150")
        assert off("fine_tuning", muted * np.array([1, 1.5, 0, 1], np.float32), None) < 1e-4
        section.locator(".reset").click()
        choose["bits"].select_option(label="3 bits")
        low, high = z.min(1), z.max(1)
        levels = low + np.rint((z - low) / (high - low) * 7) * (high - low) / 7
        assert off("fine_tuning", levels.astype(np.float32), None) < 1e-3  # a number midway may go to either level
