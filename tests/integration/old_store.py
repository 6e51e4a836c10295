"""A store as the first version of its schema had it, made of a new one: what later versions added goes, and what
they changed is made again by the first version's own words, with the rows that it could hold."""

import os
import re
import sqlite3

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOUNS = ("image", "instance", "network", "volume")


def first_schema(noun):
    with open(f"{TOP}/src/service/store/{noun}.c") as f:
        text = re.search(rf"store_{noun}_schema\[\] =(.*?)\";\n", f.read(), re.S).group(1) + '"'
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text))


def age(path):
    """The database at path, as its first version."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA foreign_keys=OFF")
    first = sqlite3.connect(":memory:")
    for noun in NOUNS:
        first.executescript(first_schema(noun))
    columns = {name: [row[1] for row in first.execute(f"PRAGMA table_info({name})")]
               for (name,) in first.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    kept = {}
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'").fetchall():
        now = [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
        if name in columns and set(columns[name]) <= set(now):
            kept[name] = db.execute(f"SELECT {','.join(columns[name])} FROM {name}").fetchall()
        db.execute(f"DROP TABLE {name}")
    for noun in NOUNS:
        db.executescript(first_schema(noun))
    for name, rows in kept.items():
        marks = ",".join("?" * len(columns[name]))
        db.executemany(f"INSERT INTO {name}({','.join(columns[name])}) VALUES({marks})", rows)
    db.execute("PRAGMA user_version = 1")
    db.commit()
    return db
