import errno

from stress_lab.errors import DataError
from stress_lab.preflight.messages import explain


def test_the_sentence_is_found_below_what_hydra_wraps():
    wrapped = RuntimeError("Error in call to target")
    wrapped.__cause__ = DataError("set data.root=FOLDER")
    assert explain(wrapped) == "set data.root=FOLDER"


def test_a_full_disk_and_full_memory_have_their_sentence():
    assert "disk is full" in explain(OSError(errno.ENOSPC, "No space left on device"))
    assert "halve optim.batch_size" in explain(type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"))
    assert explain(PermissionError(errno.EACCES, "Permission denied", "/x")).startswith("/x: Permission denied")


def test_a_bug_of_ours_keeps_its_traceback():
    bug = KeyError("while handling")
    bug.__context__ = FileNotFoundError(errno.ENOENT, "No such file or directory", "/nowhere")
    assert explain(bug) is None
