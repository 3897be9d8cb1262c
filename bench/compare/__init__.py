"""Are the kernels of one revision slower than those of another, and do they learn as well?"""
