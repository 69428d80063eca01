"""Evaluation of exported models: metrics, calibration, robustness and reports."""
