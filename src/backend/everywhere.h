/* Marks an inline function that kernels share with the host's code: under nvcc it is compiled for both. */
#ifndef GM_BACKEND_EVERYWHERE_H
#define GM_BACKEND_EVERYWHERE_H

#ifdef __CUDACC__
#define GM_EVERYWHERE __host__ __device__
#else
#define GM_EVERYWHERE
#endif

#endif
