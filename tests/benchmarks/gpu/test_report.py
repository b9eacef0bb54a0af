import time

import pytest

from benchmarks.gpu.report import Line, NotRun, Report


@pytest.fixture
def report() -> Report:
    return Report(time.monotonic() + 60)


def _raises(error: BaseException) -> Line:
    raise error


def test_a_check_that_fails_fails_the_report_and_the_next_one_runs(report: Report, capsys) -> None:
    report.check("a", 0, lambda: _raises(ValueError("two\nlines")))
    report.check("b", 0, lambda: Line("b", "PASS", "fine", {"x": 1.0}))
    assert [line.verdict for line in report.lines] == ["FAIL", "PASS"] and report.failed
    assert capsys.readouterr().out.splitlines()[0] == "FAIL    a: ValueError: two lines"
    assert "| b | PASS | fine |" in report.markdown()


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (NotRun("the kernel is for GPUs"), "the kernel is for GPUs"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "does not fit into the memory"),
    ],
)
def test_what_does_not_apply_or_fit_is_a_line_and_no_failure(report: Report, error: Exception, found: str) -> None:
    report.check("a", 0, lambda: _raises(error))
    assert report.lines == [Line("a", "NOT RUN", found)] and not report.failed


def test_no_check_begins_without_the_time_that_it_needs(report: Report) -> None:
    report.check("a", 100, lambda: Line("a", "PASS", "ran"))
    assert report.lines[0].verdict == "NOT RUN" and "100" in report.lines[0].found


def test_a_check_is_stopped_at_the_deadline_although_it_catches_everything() -> None:
    def stubborn() -> Line:
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue

    report = Report(time.monotonic() + 0.2)
    report.check("a", 0, stubborn)
    assert report.lines == [Line("a", "NOT RUN", "stopped: the time was over")]
