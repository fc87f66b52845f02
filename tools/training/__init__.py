"""Demonstrations, training and evaluation of the shipped policies."""
