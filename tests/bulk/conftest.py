import pyarrow.parquet as pq
import pytest

from tests.bulk.bulk_helpers import TABLE


@pytest.fixture
def source(tmp_path):
    pq.write_table(TABLE, tmp_path / "source.parquet")
    return tmp_path / "source.parquet"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"
