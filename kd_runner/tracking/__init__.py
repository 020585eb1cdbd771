"""TensorBoard, metrics.csv, Weights & Biases, MLflow and Trackio."""
