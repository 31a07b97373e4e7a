"""The recall distortion paper (Good et al. 2022): its tests, tables, figures and sentences for any study."""
