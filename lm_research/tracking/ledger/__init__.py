"""The ledger: runs, data sets and evaluations of a folder in one SQLite file.

The run folders are the truth. The ledger (``FOLDER/ledger.sqlite``) is a cache of them that can be
deleted at any time: it is brought up to date, by what has changed on the disk, whenever it is
opened. docs/ledger.md has the tables and queries to begin with.

    schema      the tables, and the views for people
    database    where the file lies; what becomes of one that is damaged or older
    recording   a run folder as rows
    publishing  published numbers and ours, where experiments have been judged
    refreshing  what changed on the disk, and the transactions that bring it in
    ledger      ``open_ledger``, and the runs of a ledger as ``analysis`` knows them
    selection   filters, orders, and a run by its folder or a prefix of its id or name
    comparison  what differs between runs
    export      one flat row a run, or a row of its curve, as CSV, Parquet or JSON
"""
