"""`./sluice new-source NAME`: a source's folder, its dbt models, gates, tests and sandbox route, all new files.

Modules, in the order in which they work: `sample.py` reads what an API answered or a file; `columns.py` and
`paging.py` infer from it; `plan.py` joins that with what was asked for; `questions.py` asks on a terminal what is left;
`write.py` fills the templates and puts the files in their places, all or none.
"""
