"""How the commands read their options and how they end: one sentence, an exit code, never a traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import inference.arguments
import report.arguments
import training.arguments
from inference.arguments import CORPORA, PARTS, PHASES
from nn1d import doctor, gradcheck
from nn1d.command import nearest, run_command
from speech.cache import user_cache
from speech.recording import CorpusError
from tests.command import ROOT, SMALL
from training import configuration, environment

pytestmark = pytest.mark.commands

TRAIN, REPORT, INFERENCE = ("train.py",), ("-m", "report"), ("-m", "inference")
GRADCHECK, DOCTOR = ("-m", "nn1d.gradcheck"), ("-m", "nn1d.doctor")
SWEEP = ("-m", "training", "sweep")
COMMANDS = (TRAIN, REPORT, INFERENCE, GRADCHECK, DOCTOR)
UNNEEDED = {"matplotlib", "scipy", "soundfile", "pooch", "jinja2", "safetensors", "tqdm", "cupy"}


def run(
    command: tuple[str, ...], *options: str | Path, stdout: Any = subprocess.PIPE, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *command, *map(str, options)]
    return subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=env,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_needs_nothing_that_takes_long_to_import(command: tuple[str, ...]) -> None:
    done = run(("-X", "importtime", *command), "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: ")
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported  # the list is what it is taken for
    assert imported & UNNEEDED == set()


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        (TRAIN, "--epoch 3", "train.py: unknown option --epoch; did you mean --epochs?"),
        (TRAIN, "--epoch=3 --db demo", "train.py: unknown option --epoch; did you mean --epochs?"),
        (TRAIN, "--batch_size 3", "train.py: unknown option --batch_size; did you mean --batch-size?"),
        (TRAIN, "--EPOCHS 3", "train.py: unknown option --EPOCHS; did you mean --epochs?"),
        (TRAIN, "--zzz", "train.py: unknown option --zzz; train.py --help lists the options"),
        (TRAIN, "-x 3", "train.py: unknown option -x; train.py --help lists the options"),
        (TRAIN, "emodb", "train.py: unexpected emodb; train.py --help lists the options"),
        (
            TRAIN,
            "--db emobd",
            "train.py: db must be one of demo, emodb, savee, ravdess, cremad, tess, folder, shards; got 'emobd'; did y",
        ),
        (TRAIN, "--split speakers", "train.py: split must be one of random, speaker; got 'speakers'; did you mean sp"),
        (TRAIN, "--epochs ten", "train.py: --epochs: must be an integer; got 'ten'"),
        (TRAIN, "--channels 4,x", "train.py: --channels: must be a list of integers; got '4,x'"),
        (TRAIN, "--learning-rate -1", "train.py: learning_rate must be above 0; got -1.0"),
        (TRAIN, "--config nope.toml", "train.py: --config: nope.toml: there is no such file"),
        (REPORT, "RUN --data there", "report: unknown option --data; did you mean --data-dir?"),
        (REPORT, "", "report: the following arguments are required: RUN"),
        (
            INFERENCE,
            "encod RUN",
            "inference: COMMAND must be one of encode, reconstruct, evaluate, rate, export, probe; got 'encod'",
        ),
        (INFERENCE, "encode RUN a.wav -o f.npz --thread 3", "inference: unknown option --thread; did you mean --thr"),
        (INFERENCE, "--thread 3 encode", "inference: unknown option --thread; python -m inference --help lists the o"),
        (
            INFERENCE,
            "evaluate RUN --db savy",
            "inference: --db must be one of demo, emodb, savee, ravdess, cremad, tess, folder; got 'savy'",
        ),
        (INFERENCE, "export RUN -o a.onnx --part decode", "inference: --part must be one of both, encoder, decoder; g"),
        (GRADCHECK, "--sed 3", "gradcheck: unknown option --sed; did you mean --seed?"),
        (GRADCHECK, "--seed -1", "gradcheck: --seed: must be an integer of at least 0; got '-1'"),
        (
            GRADCHECK,
            "nn1d/conv",
            "gradcheck: cannot import nn1d/conv: No module named 'nn1d/conv'. Name the module: nn1d.co",
        ),
        (GRADCHECK, "nn1d/conv.py", "gradcheck: nn1d/conv.py must define gradient_cases(rng), see python -m pydoc nn1"),
        (GRADCHECK, "nn1d.conv", "gradcheck: nn1d.conv must define gradient_cases(rng), see python -m pydoc nn1d.gr"),
        (DOCTOR, "--verbose", "doctor: unknown option --verbose; python -m nn1d.doctor --help lists the options"),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_name(
    command: tuple[str, ...], options: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(command, *options.split()) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(sentence), errors
    assert errors.count("\n") == 1


def refused(command: tuple[str, ...], *options: str) -> object:
    """The exit code of a command that does not like its options; in this process, which takes less time."""
    readers: dict[tuple[str, ...], Callable[[list[str]], Any]] = {
        TRAIN: training.arguments.read_arguments,
        REPORT: report.arguments.read_arguments,
        INFERENCE: inference.arguments.read_arguments,
        GRADCHECK: gradcheck.main,
        DOCTOR: doctor.main,
    }
    with pytest.raises(SystemExit) as end:
        run_command("train.py", lambda: readers[command]([*options]), configuration.ConfigurationError)
    return end.value.code


def test_a_mistake_ends_the_process_with_2() -> None:
    for command, options, sentence in (
        (SWEEP, ["--seeds", "1,2"], "training: sweep: --seeds: invalid int value: '1,2'"),
        (TRAIN, ["--epoch", "3"], "train.py: unknown option --epoch; did you mean --epochs?\n"),
        (TRAIN, ["--epochs", "0"], "train.py: epochs must be at least 1; got 0\n"),
        (REPORT, ["nowhere"], "report: run: nowhere holds no run (no config.json). Name the folder that train.py "),
        (REPORT, ["RUN", "-o", "page.html"], "report: -o is for several runs; RUN has its page in its folder. "),
        (INFERENCE, ["encode", "nowhere", "-o./f.npz", "--", "-a.wav"], "inference: run: nowhere holds no run (no con"),
    ):
        done = run(command, *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(sentence) and done.stderr.count("\n") == 1, done.stderr


def test_names_may_stand_before_after_and_between_options() -> None:
    for words in ("RUN a b -o f.npz --limit 3", "RUN -o f.npz a --limit 3 b", "-o f.npz --limit 3 RUN -- a b"):
        options = inference.arguments.read_arguments(["encode", *words.split()])
        assert (str(options.run), [str(path) for path in options.paths], options.limit) == ("RUN", ["a", "b"], 3)


def test_no_option_goes_by_a_part_of_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--residual", "--fine-tune"):
        assert refused(TRAIN, option, "1") == 2
        assert capsys.readouterr().err.startswith(f"train.py: unknown option {option}; did you mean {option}-")
    several = nearest("fine-tune", ("fine-tune-epochs", "fine-tune-masks", "epochs"))
    assert several == "; did you mean fine-tune-epochs or fine-tune-masks?"
    assert nearest("", ("epochs",)) == nearest("zzz", ("epochs",)) == ""


def test_the_choices_of_the_options_are_those_of_the_code() -> None:
    from inference import export, model
    from speech.corpus import NAMES

    assert (PHASES, PARTS, set(CORPORA)) == (model.PHASES, export.PARTS, set(NAMES))


@pytest.mark.parametrize(
    ("file", "name"), [("train.py", "train.py"), ("benchmarks/precision.py", "benchmarks.precision")]
)
def test_a_package_that_is_not_installed_is_named_with_the_cure(file: str, name: str) -> None:
    hides = "import sys, importlib.util as u; find = u.find_spec\nu.find_spec = lambda name: None if name in ('scipy', "
    hides += f"'pooch') else find(name)\nimport runpy; runpy.run_path('{file}', run_name='__main__')"
    done = run(("-c", hides))
    assert done.returncode == 2
    assert done.stderr == f"{name}: needs scipy, pooch. Install them: pip install -e '.[speech]'\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the names of files are UTF-8")
def test_a_file_name_that_the_locale_cannot_write_is_a_sentence(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'out = "{tmp_path}/é"\n', "utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, *TRAIN, "--config", str(settings)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | locale, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        f"train.py: the locale cannot write the file name '{tmp_path}/\\xe9'. Choose one of UTF-8: LC_ALL=C.UTF-8\n",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
@pytest.mark.parametrize("command", [TRAIN, INFERENCE, DOCTOR], ids=" ".join)
def test_a_full_disk_behind_the_output_is_named(command: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = run(command, *(() if command == DOCTOR else ("--help",)), stdout=full)
    name = {TRAIN: "train.py", INFERENCE: "inference", DOCTOR: "doctor"}[command]
    assert (done.returncode, done.stderr) == (2, f"{name}: standard output: No space left on device\n")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize("command", [TRAIN, REPORT, GRADCHECK], ids=" ".join)
def test_closed_streams(command: tuple[str, ...]) -> None:
    line = f"exec {sys.executable} {' '.join(command)} --help"
    done = subprocess.run(["sh", "-c", f"{line} >&-"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith(": standard output is closed. Send it to a file, or to /dev/null\n")
    assert done.stderr.count("\n") == 1
    done = subprocess.run(["sh", "-c", f"{line} 2>&- 0<&-"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: ")


@pytest.mark.parametrize("command", [TRAIN, INFERENCE, GRADCHECK], ids=" ".join)
def test_a_reader_that_has_left_ends_a_command_with_141(command: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(command, "--help", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_terminal_that_is_not_utf_8_gets_an_escape(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = run(TRAIN, "--config", "π.toml", env=environment)
    assert (done.returncode, done.stderr) == (2, "train.py: --config: \\u03c0.toml: there is no such file\n")
    done = run(TRAIN, *SMALL, "--limit", "8", "--dry-run", "--threads", "3", "--out", tmp_path / "π", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u03c0:\n" in done.stdout
    device = done.stdout.splitlines()[0]  # short: why there is no GPU is said by the doctor, and by --device gpu
    assert re.fullmatch(r"device: CPU, 3 threads, [^,()]+", device)


@pytest.mark.parametrize(
    ("command", "options", "package", "number"),
    [
        (TRAIN, ("--dry-run",), "numpy", signal.SIGINT),
        (TRAIN, ("--dry-run",), "soundfile", signal.SIGTERM),
        (INFERENCE, ("encode", "RUN", "a.wav", "-o", "f.npz"), "numpy", signal.SIGTERM),
        (REPORT, ("RUN",), "soundfile", signal.SIGINT),
        (SWEEP, ("--db", "demo"), "numpy", signal.SIGINT),
        (DOCTOR, (), "numpy", signal.SIGINT),
        (GRADCHECK, (), "threadpoolctl", signal.SIGTERM),
        (("-m", "benchmarks.step"), (), "numpy", signal.SIGINT),
    ],
)
def test_a_signal_while_packages_are_imported(
    command: tuple[str, ...], options: tuple[str, ...], package: str, number: signal.Signals, tmp_path: Path
) -> None:
    """A finder that comes before Python's own sends the signal when the package is asked for."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {package!r} and sys._getframe(1).f_globals.get('__name__') != 'importlib.util':\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = run(command, *options, env=os.environ | {"PYTHONPATH": path})
    name = {TRAIN: "train.py", SWEEP: "training"}.get(command, command[-1].removeprefix("nn1d.").removesuffix(".step"))
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert (done.returncode, done.stderr, done.stdout) == (128 + number, f"{name}: {word}\n", "")


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_while_a_command_works(number: signal.Signals, word: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\n\ndef gradient_cases(rng):\n    print('here', flush=True)\n    time.sleep(60)\n    yield ()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "nn1d.gradcheck", "slow"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        while process.stdout.readline() != "here\n":
            assert process.poll() is None
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + number, f"gradcheck: {word}\n")


def test_what_a_shell_keeps_from_a_background_job_stays_kept(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import os, signal\nfrom nn1d import ELU\n\ndef gradient_cases(rng):\n"
                                     "    os.kill(os.getpid(), signal.SIGINT)\n"
                                     "    return [('ELU', ELU(), rng.standard_normal((1, 4, 1)))]\n")  # fmt: skip
    script = f"trap '' INT; exec {sys.executable} -m nn1d.gradcheck own"
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_signals_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert run_command("name", lambda: 3) == 3
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(run_command("name", lambda: 4)))
    thread.start()
    thread.join()
    assert results == [4]


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (LookupError("a\nb"), 2, "name: a b\n"),
        (MemoryError("Unable to allocate 3 GiB"), 2, "name: there is not enough memory: Unable to allocate 3 GiB\n"),
        (MemoryError(), 2, "name: there is not enough memory\n"),
        (
            RuntimeError("can't start new thread"),
            2,
            "name: there is not enough memory, or room for processes, to start a thread. Look at ulimit -v and -u\n",
        ),
        (PermissionError(13, "Permission denied", "a/b"), 2, "name: a/b: Permission denied\n"),
        (PermissionError(13, "Permission denied", b"a/b"), 2, "name: a/b: Permission denied\n"),
        (OSError("without a number"), 2, "name: without a number\n"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (KeyboardInterrupt(), 130, "name: interrupted\n"),
    ],
)
def test_every_end_has_its_code(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_command("name", raising(error), LookupError)
    assert end.value.code == code
    assert capsys.readouterr() == ("", sentence)


def test_a_fault_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command("name", lambda: 1 // 0, ValueError)


@pytest.mark.parametrize(
    ("threads", "kernels", "words"),
    [
        (2, "openblas 0.3.31 SkylakeX", "2 threads, OpenBLAS SkylakeX"),
        (1, "openblas 0.3.31.dev Zen, mkl 2024.1", "1 thread, OpenBLAS Zen, MKL"),
        (3, "flexiblas", "3 threads, FlexiBLAS"),
        (3, "unknown", "3 threads, unknown BLAS"),
    ],
)
def test_the_cpu_in_words(threads: int, kernels: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "blas_kernels", lambda: kernels)
    assert environment.cpu_in_words(threads) == words


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a user has a home by another way")
def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)  # as of a container that is run with --user 1234
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(CorpusError, match=r"^cache: there is no home folder to keep clips in\. Set HOME or XDG_CACHE_"):
        user_cache()
    assert doctor.main([]) == 0
    monkeypatch.setenv("XDG_CACHE_HOME", os.sep)
    assert user_cache() == Path(os.sep, "nn1d")
