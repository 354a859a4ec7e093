"""Tests of the vocabulary that all packages share."""
