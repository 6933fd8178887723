"""Nearest neighbors by the libraries of the field.

``index="name"`` or ``index="name:spec"`` selects one: ``"usearch"`` or ``"usearch:bf16"`` (the dtype),
``"faiss"`` or ``"faiss:IVF1024,Flat"`` (the factory string), ``"milvus"`` (Milvus Lite) or
``"milvus:http://localhost:19530"`` (a server).
"""

from ._base import Backend
from .backend_factory import check_index_name, load_backend, open_backend

__all__ = ["Backend", "check_index_name", "load_backend", "open_backend"]
