"""Tests of the wire code: against h11, json and each other, at every split of what comes."""
