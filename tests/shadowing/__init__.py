"""``pytest --shadow``: every loss that a test computes is computed anew in other ways.

On the same noise and on copies, so that the test goes on as it would have: by the objective's own
pass, by its graph, and by Pyro's class of the same bound, in double precision where that can be.
"""
