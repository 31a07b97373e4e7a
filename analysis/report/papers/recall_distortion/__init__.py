"""The recall distortion paper (Good et al. 2022): its tests, tables, figures and claims, for any study."""
