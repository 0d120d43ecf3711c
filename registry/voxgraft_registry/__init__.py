"""Models and runs: MLflow tracking, versions, promotion, and moving a model between sites."""
