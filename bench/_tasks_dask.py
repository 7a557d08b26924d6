"""dask.distributed for `bench.scatter_gather`, on three worker processes; needs dask and nothing of ours."""

import json
import sys
import time

TASKS, CHUNK, TURNS = 20_000, 100, 3


def square(x):
    """The task: as small as a task can be."""
    return x * x


def main(path):
    """Tasks per second, in chunks and one by one."""
    from distributed import Client, LocalCluster

    rates = {"chunks": [], "one by one": []}
    with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.gather(client.map(square, range(-10, 0), pure=False))
        for _ in range(TURNS):
            for name, tasks, options in (("chunks", TASKS, {"batch_size": CHUNK}), ("one by one", 2_000, {})):
                start = time.perf_counter()
                values = client.gather(client.map(square, range(tasks), pure=False, **options))
                rates[name].append(tasks / (time.perf_counter() - start))
                assert values == [x * x for x in range(tasks)]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(rates, file)


if __name__ == "__main__":
    main(sys.argv[1])
