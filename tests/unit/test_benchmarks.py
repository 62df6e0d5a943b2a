"""A benchmark of Snakemake's is read as it stands, and what it did not see is unknown."""

import pytest

from glioflow.benchmarks import Benchmark, benchmark_path, read_benchmark

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("2.5\t0:00:02\t100.25\t1\t1\t1\t1\t1\t80\t2.0", Benchmark(2.5, 2.0, 100.25)),
        ("0.1\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA", Benchmark(0.1, None, None)),
        ("0.1\t0:00:00\t-\t-\t-\t-\t-\t-\t-\t-", Benchmark(0.1, None, None)),
    ],
)
def test_a_job_has_its_time_and_what_was_seen_of_its_processes(tmp_path, row, found):
    (tmp_path / "a.tsv").write_text(HEADER + row + "\n")
    assert read_benchmark(tmp_path / "a.tsv") == found


def test_a_benchmark_is_where_the_log_would_be():
    assert benchmark_path("results/logs/score_cases/m/cv/1-of-2.log") == "results/benchmarks/score_cases/m/cv/1-of-2.tsv"
