"""Where each number sits: values to limbs, limbs to slots, slots to ciphertexts. Pure integer geometry."""

from mpc.packing.layout import CHECK_SLOTS, SegmentLayout, VectorLayout
from mpc.packing.limbs import LimbReader, LimbWriter

__all__ = ["CHECK_SLOTS", "LimbReader", "LimbWriter", "SegmentLayout", "VectorLayout"]
