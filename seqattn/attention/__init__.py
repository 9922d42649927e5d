"""Who attends to whom, what it computes, and the kernels that compute it."""
