"""gmoe's tokenizer as a shared library for Python, compiled from the sources in this repository into a temporary directory:
for the fuzz test and the benchmark, which call it many times."""
import atexit
import ctypes
import glob
import os
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPECIAL, PLAIN = 1, 2
_library = None


class _Ids(ctypes.Structure):
    _fields_ = [("ids", ctypes.POINTER(ctypes.c_int32)), ("count", ctypes.c_size_t), ("capacity", ctypes.c_size_t)]


class _Buffer(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_void_p), ("length", ctypes.c_size_t), ("capacity", ctypes.c_size_t), ("failed", ctypes.c_bool)]


def _build():
    directory = tempfile.mkdtemp(prefix="gmoe-tokenizer-")
    atexit.register(shutil.rmtree, directory, True)
    path = os.path.join(directory, "libgmoe_tokenizer.so")
    sources = glob.glob(f"{ROOT}/src/base/*.c") + glob.glob(f"{ROOT}/src/io/tokenizer/*.c") + [f"{ROOT}/scripts/oracle/tokenizer_batch.c"]
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] if os.environ.get("GMOE_SANITIZE") else []
    subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-D_DEFAULT_SOURCE", "-O2", "-g", "-fopenmp", *sanitize, "-shared", "-fPIC", f"-I{ROOT}/include", f"-I{ROOT}/src",
                    *sources, "-o", path, "-lcjson", "-lpcre2-8", "-lutf8proc", "-lz", "-lm"], check=True)
    library = ctypes.CDLL(path)
    library.gm_error_text.restype = ctypes.c_char_p
    library.gm_tokenizer_open.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_char_p]
    library.gm_tokenizer_encode.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.POINTER(_Ids)]
    library.gm_tokenizer_decode.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int32), ctypes.c_size_t, ctypes.c_bool, ctypes.POINTER(_Buffer)]
    library.gm_encode_batch.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p), ctypes.POINTER(ctypes.c_size_t), ctypes.c_size_t, ctypes.c_int, ctypes.POINTER(_Ids)]
    library.gm_ids_free.argtypes = [ctypes.POINTER(_Ids)]
    library.gm_tokenizer_close.argtypes = [ctypes.c_void_p]
    return library


class Tokenizer:
    def __init__(self, path):
        global _library
        _library = _library or _build()
        self._handle, self._ids, self._buffer, self._batch = ctypes.c_void_p(), _Ids(), _Buffer(), []
        self._check(_library.gm_tokenizer_open(ctypes.byref(self._handle), os.fsencode(path)))

    def _check(self, status):
        if status:
            raise ValueError(_library.gm_error_text().decode())

    def encode(self, text, special=False, plain=False):
        """The ids of `text`."""
        count = self.count(text, special, plain)
        return self._ids.ids[:count]

    def count(self, text, special=False, plain=False):
        """How many ids there are, without making Python's of them."""
        text = text.encode() if isinstance(text, str) else text
        self._check(_library.gm_tokenizer_encode(self._handle, text, len(text), SPECIAL * special | PLAIN * plain, ctypes.byref(self._ids)))
        return self._ids.count

    def encode_batch(self, texts, threads):
        """The ids of all texts with special tokens, left in C: a function that gives those of one, valid until the next batch."""
        self._free_batch()
        encoded = [t.encode() for t in texts]
        self._batch = (_Ids * len(texts))()
        self._check(_library.gm_encode_batch(self._handle, (ctypes.c_char_p * len(texts))(*encoded), (ctypes.c_size_t * len(texts))(*map(len, encoded)),
                                             len(texts), threads, self._batch))
        return lambda i: self._batch[i].ids[:self._batch[i].count]

    def _free_batch(self):
        for ids in self._batch:
            _library.gm_ids_free(ctypes.byref(ids))
        self._batch = []

    def decode(self, ids, skip_special=True):
        self._decode((ctypes.c_int32 * len(ids))(*ids), len(ids), skip_special)
        return ctypes.string_at(self._buffer.bytes, self._buffer.length).decode() if self._buffer.length else ""

    def decode_counted(self):
        """Decodes what the last `count` made, for its time alone."""
        self._decode(self._ids.ids, self._ids.count, False)

    def _decode(self, array, count, skip_special):
        self._buffer.length = 0
        self._check(_library.gm_tokenizer_decode(self._handle, array, count, skip_special, ctypes.byref(self._buffer)))

    def close(self):
        self._free_batch()
        _library.gm_tokenizer_close(self._handle)
        self._handle = ctypes.c_void_p()
