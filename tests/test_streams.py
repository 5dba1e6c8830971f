"""What a command does is not undone by where its output goes, and a signal ends it in one line."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from stress_lab.runtime.streams import spell

ROOT = Path(__file__).parents[1]
WORK = """
    import sys, warnings
    from pathlib import Path
    from stress_lab.runtime.streams import take_over_streams, whole_output

    take_over_streams()
    with whole_output():
        for number in range(2000):
            print(f"{number} – café 長い …")
        warnings.warn("a\\x1b[2Jwarning")
        print("étage 🐈", file=sys.stderr)
        Path("done").write_text("done", encoding="utf-8")
        sys.exit(int(sys.argv[1]))
"""


def run(tmp_path, command, code=WORK, status=0, **env):
    """Run code by a shell, where ``"$@"`` in the command stands for it; the file ``done`` says that it ended."""
    script = tmp_path / "work.py"
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **env}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, "bash", sys.executable, str(script), str(status)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert (tmp_path / "done").is_file()
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert b"\x1b" not in done.stderr
    return done


@pytest.mark.processes
@pytest.mark.parametrize(
    ("encoding", "first"),
    [
        ("latin-1", b"0 - caf\xe9 \\u9577\\u3044 ..."),
        ("ascii", b"0 - caf\\xe9 \\u9577\\u3044 ..."),
        ("ascii:strict", b"0 - caf\\xe9 \\u9577\\u3044 ..."),
        ("cp1252", b"0 \x96 caf\xe9 \\u9577\\u3044 \x85"),
        ("utf-16", "0 – café 長い …".encode("utf-16")[2:]),  # Python writes no mark into a pipe
        ("utf-8", "0 – café 長い …".encode()),
    ],
)
def test_every_encoding_takes_everything(tmp_path, encoding, first):
    done = run(tmp_path, '"$@"', PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert done.stdout.startswith(first)


@pytest.mark.processes
@pytest.mark.parametrize(
    "env",
    [
        {"LANG": "C", "LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "nonsense", "PYTHONUTF8": "0"},
        {"LANG": "", "LC_ALL": "", "LC_CTYPE": ""},
        {"PYTHONUNBUFFERED": "1"},
    ],
)
def test_every_locale_takes_everything(tmp_path, env):
    done = run(tmp_path, '"$@"', **env)
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 2000


@pytest.mark.processes
@pytest.mark.parametrize(
    ("command", "status", "wanted", "said"),
    [
        ('"$@" | head -1', 0, 0, b""),
        ('"$@" | head -1', 3, 3, b""),
        ('"$@" | true', 0, 0, b""),
        ('"$@" 2>&1 | head -1', 3, 3, b""),
        ('"$@" >&-', 0, 0, b""),
        ('"$@" >&- 2>&-', 3, 3, b""),
        ('"$@" <&- >&- 2>&-', 0, 0, b""),
        ('"$@" > /dev/full', 0, 1, b"error: standard output could not be written (No space left on device)"),
        ('"$@" > /dev/full', 3, 3, b""),
        ('"$@" 2> /dev/full', 0, 0, b""),
    ],
)
def test_a_reader_that_goes_away_ends_no_work(tmp_path, command, status, wanted, said):
    done = run(tmp_path, command, status=status)
    assert done.returncode == wanted
    assert said in done.stderr


@pytest.mark.processes
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    code = """
        import os
        from stress_lab.runtime.streams import take_over_streams

        take_over_streams()
        with open("done", "wb") as file:
            assert file.fileno() > 2, file.fileno()
            os.write(1, b"from a library in C")
            os.write(2, b"from a library in C")
    """
    assert run(tmp_path, '"$@" <&- >&- 2>&-', code).returncode == 0
    assert (tmp_path / "done").read_bytes() == b""


@pytest.mark.processes
def test_a_traceback_of_ours_shows_escapes(tmp_path):
    code = """
        from pathlib import Path
        from stress_lab.runtime.streams import take_over_streams

        take_over_streams()
        Path("done").touch()
        raise ValueError("a\\x1b[2J\\u202e")
    """
    script = tmp_path / "work.py"
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=env, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == rb"ValueError: a\x1b[2J\u202e"


def test_what_an_encoding_lacks_is_spelled():
    assert "1 – 2 → é κ 🐈".encode("ascii", "stress_lab.spell") == b"1 - 2 -> \\xe9 kappa \\U0001f408"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", "stress_lab.spell")
    with pytest.raises(ValueError, match="other"):
        spell(ValueError("other"))


INTERRUPTED = """
    import sys, time
    from pathlib import Path
    from stress_lab.cli.app import leave_cleanly

    with leave_cleanly("try again"):
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            time.sleep(float(sys.argv[1]))
            Path("cleaned").touch()
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("signals", "cleaned"),
    [
        ([signal.SIGINT], True),
        ([signal.SIGTERM], True),
        ([signal.SIGHUP], True),
        ([signal.SIGINT, signal.SIGINT], True),
        ([signal.SIGTERM, signal.SIGINT], True),
        ([signal.SIGINT, signal.SIGINT, signal.SIGINT], False),
    ],
    ids=lambda value: "+".join(one.name for one in value) if isinstance(value, list) else None,
)
def test_signals_end_a_command_in_one_line(tmp_path, signals, cleaned):
    """The second while it cleans up is not heard, the third ends it at once."""
    script = tmp_path / "work.py"
    script.write_text(textwrap.dedent(INTERRUPTED), encoding="utf-8")

    def hear():
        """As in a terminal; what runs in the background, or under nohup, ignores some."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, script, "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear,
    )
    assert process.stdout.readline() == "ready\n"
    for at, number in enumerate(signals, 1):
        process.send_signal(number)
        if at < len(signals):
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == ("interrupted: try again\n" if cleaned else "")
    assert (tmp_path / "cleaned").exists() == cleaned
