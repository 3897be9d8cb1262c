"""Two revisions side by side: which kernels are slower, and do both learn as well."""
