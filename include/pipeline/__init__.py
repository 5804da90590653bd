"""source.yml -> DAG.

`model` is the typed YAML, `partition` says which month or hour a run is about, `steps` is what the tasks do, `factory`
wires them.
"""
