"""The tests, tables, figures and claims of the recall distortion paper (Good et al. 2022), for any study."""
