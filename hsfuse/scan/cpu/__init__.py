"""The selective scan on the CPU, compiled by numba."""
