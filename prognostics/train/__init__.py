"""How the default models are made (extra `train`): data, grouped folds, nets in jax, ONNX files, model cards.

Nothing here is imported by the running service.
"""
