import pickle

import numpy as np

from seqattn.frontends.graph_cache import TableCache


def table(size: int) -> np.ndarray:
    return np.zeros((size, 1), dtype=np.float32)


def test_table_is_made_once() -> None:
    cache = TableCache(100)
    first = cache.get(b"a", lambda: table(5))
    assert cache.get(b"a", lambda: table(6)) is first


def test_oldest_table_goes_when_there_is_no_more_room() -> None:
    cache = TableCache(100)
    for key in (b"a", b"b", b"a", b"c"):  # 40 bytes each
        cache.get(key, lambda: table(10))
    assert (len(cache), cache.bytes) == (2, 80)
    kept = cache.get(b"a", lambda: table(1))
    assert len(kept) == 10
    assert len(cache.get(b"b", lambda: table(1))) == 1


def test_last_table_is_kept_whatever_its_size() -> None:
    cache = TableCache(100)
    cache.get(b"a", lambda: table(1))
    large = cache.get(b"b", lambda: table(1000))
    assert cache.get(b"b", lambda: table(1)) is large
    assert len(cache) == 1


def test_tables_stay_behind_when_the_cache_is_sent() -> None:
    cache = TableCache(100)
    cache.get(b"a", lambda: table(5))
    sent = pickle.loads(pickle.dumps(cache))
    assert (len(sent), sent.bytes, sent.max_bytes) == (0, 0, 100)
