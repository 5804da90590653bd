"""The warehouse on Redshift: what differs so much from Postgres that the same text of SQL cannot serve both.

Each module has the functions of its namesake in `include/warehouse`, which hands on to it by the URI's scheme.

What Redshift lacks decides the shape of all of it. There are no advisory locks and no row locks: whoever writes locks
the empty table `ops.write_lock` before anything else in the transaction (`RedshiftSession.lock`). Keys are not
enforced: a statement that inserts has deleted the same keys before, and counts them where they come from a query. There
are no savepoints: what may fail is asked first. There are no partitions: the rows of a landing are deleted by
`_landing_id`, which tables are sorted by.
"""
