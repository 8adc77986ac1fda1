"""Small folders of data in a temporary place."""

import pytest
from folders import write_file


@pytest.fixture
def write(tmp_path):
    """A function that writes files, given by keyword as lists by column, into a folder, and gives the folder."""

    def into(kind="parquet", name="small", **files):
        for stem, columns in files.items():
            write_file(tmp_path / name, stem, columns, kind)
        return tmp_path / name

    return into
