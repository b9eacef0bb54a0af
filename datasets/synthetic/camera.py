"""How a fixed camera sees a posed body: its outlines in the picture, silhouettes, and the noise of segmentation.

Frame of reference, in metres: x points where the person walks, y to their left, z up; the origin is on the floor.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from datasets.random_streams import stream
from datasets.synthetic.body import Body

METRES_IN_VIEW = 3.25  # from the top to the bottom of the picture, at the centre of the scene
CAMERA_DISTANCE = 10.0  # metres from the centre of the scene
LONGEST_PATH = 3.0  # metres that a fixed camera sees
MARGIN = 4.0  # pixels between the person and the border of the picture
GAZE = 0.88  # metres above the floor at which the camera is aimed
SHIFT = 4  # fractional bits of the coordinates handed to OpenCV
CORNERS = 16  # of the polygon that stands for an ellipse


def project(
    body: Body, path: float, azimuth: float, elevation: float, height: int, width: int
) -> dict[str, np.ndarray]:
    """The outline of every ellipsoid in picture coordinates: [T, CORNERS, 2] each; path in metres, angles in radians.

    Perspective is weak: one scale for the whole body, which grows as the person comes nearer.
    """
    toward = np.array([np.cos(azimuth) * np.cos(elevation), -np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    right = np.array([np.sin(azimuth), np.cos(azimuth), 0.0])
    axes = np.stack([right, np.cross(right, toward)])  # [2, 3]: metres in the world to metres right and down
    turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    shapes = {}
    for name, centre in body.centres.items():
        spread = axes * np.array(body.radii[name])
        ellipse = (np.linalg.cholesky(spread @ spread.T) @ circle).T
        shapes[name] = ((centre - [0.0, 0.0, GAZE]) @ axes.T)[:, None] + ellipse
    half = np.array([width, height]) / 2
    points = np.concatenate(list(shapes.values()), axis=1)
    way, scale = _track(points.min(axis=1), points.max(axis=1), path, axes[:, 0], toward[0], half)
    return {name: (shape + way) * scale + half for name, shape in shapes.items()}


def _track(
    low: np.ndarray, high: np.ndarray, path: float, ahead: np.ndarray, nearer: float, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The person's position in each frame, [T, 1, 2] metres right and down of the centre, and the scale, [T, 1, 1].

    The path is shortened until all of it is in the picture. The feet then slide over the floor, which does not matter:
    silhouettes are aligned, and do not show the floor.

    Args:
        low, high: corners of the body's bounding box, [T, 2] metres.
        path: length of the path in metres.
        ahead, nearer: displacement in the picture, [2], and towards the camera, for one metre of the path.
        half: half the size of the picture in pixels, [2].
    """
    progress = np.linspace(-0.5, 0.5, len(low))[:, None] * min(path, LONGEST_PATH)
    while True:
        way = progress * ahead
        scale = 2 * half[1] / METRES_IN_VIEW * CAMERA_DISTANCE / (CAMERA_DISTANCE - progress * nearer)
        inside = np.all((low + way) * scale > MARGIN - half) and np.all((high + way) * scale < half - MARGIN)
        if inside or np.abs(progress).max() < 0.01:
            return way[:, None], scale[:, None]
        progress = 0.9 * progress


def fill(outlines: dict[str, np.ndarray], parts: Sequence[tuple[str, ...]], height: int, width: int) -> np.ndarray:
    """The union of all parts, uint8 [T, height, width]."""
    points = [np.concatenate([outlines[name] for name in part], axis=1) for part in parts]
    points = [np.round(corners * (1 << SHIFT)).astype(np.int32) for corners in points]
    frames = np.zeros((len(points[0]), height, width), np.uint8)
    for t, frame in enumerate(frames):
        for corners in points:
            cv2.fillConvexPoly(frame, cv2.convexHull(corners[t]), 255, cv2.LINE_8, SHIFT)
    return frames


def subtract_background(frames: np.ndarray, outlines: dict[str, np.ndarray], occasion: int) -> None:
    """Add the errors of background subtraction to clean silhouettes, in place.

    The background sets the contrast: a fixed field of thresholds makes outlines ragged, and opens a hole where it
    reaches 255. Its mean makes whole sequences a little thicker or thinner.
    """
    height, width = frames.shape[1:]
    coarse = stream(occasion, "background/scene").standard_normal((height // 4, width // 4), np.float32)
    scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    mean = stream(occasion, "background/threshold").normal(128, 25)
    thresholds = np.clip(mean + 40 * scene, 30, 255).astype(np.uint8)
    corners = np.concatenate(list(outlines.values()), axis=1)
    lows = np.maximum(corners.min(axis=1).astype(int) - 4, 0)
    highs = corners.max(axis=1).astype(int) + 5
    for frame, (left, top), (right, bottom) in zip(frames, lows, highs, strict=True):
        window = np.s_[top:bottom, left:right]
        frame[window] = cv2.compare(cv2.GaussianBlur(frame[window], (5, 5), 0), thresholds[window], cv2.CMP_GT)
