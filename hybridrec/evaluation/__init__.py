"""Exact full-catalogue ranking, metrics, passports, significance and reports."""
