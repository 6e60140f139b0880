"""With how many threads a worker computes."""

import torch

from anomalyvfm_opt.worker.cores import count_workers, share_cores


def limit_threads(threads: int | None) -> int:
    """Use this many CPU threads, or by default this process's share of the cores among the host's workers.

    The share is at most what torch takes by itself: it heeds OMP_NUM_THREADS.

    NumPy's and SciPy's BLAS keep threads of their own, which wait by spinning: where workers share cores, to leave
    them alone made fitting a Gaussian a hundred times slower. One is enough for what we ask of it.
    """
    import scipy.linalg  # noqa: F401 - only a BLAS that is loaded can be limited
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")
    if threads is None:
        threads = min(share_cores(count_workers()), torch.get_num_threads())
    torch.set_num_threads(threads)
    return threads
