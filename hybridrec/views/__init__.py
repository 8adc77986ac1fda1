"""View creation: corruptions of data, of features and of the model itself."""
