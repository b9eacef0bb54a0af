"""tmp"""

import cv2
import numpy as np

from datasets.schema import Unreadable


def decode(data: bytes) -> np.ndarray:
    if not data:
        raise Unreadable("empty file", "0 bytes")
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise Unreadable("damaged image", f"{len(data)} bytes")
    return image
