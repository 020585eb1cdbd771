"""Every picture of pages and of TensorBoard, each drawn once, as SVG."""
