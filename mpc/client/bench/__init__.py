"""The benchmark suite: what protected arithmetic costs on this machine, against the same work in the clear.

`sealroom bench` and the pytest files under `benchmarks/` measure the same cases, which are defined here so that an
installed package can run them: `cases` says what a case is; `micro`, `sums`, `queries`, `training`, `planning` and
`peers` define them; `suite` lists them by path; `measure` and `runner` time them; `drift` decides whether the machine
was quiet enough to believe; `report` and `tables` show them; `comparison` compares two runs; `calibrating` derives the
planner's constants.
"""
