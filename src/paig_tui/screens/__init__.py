"""The screens: a folder for each section, and what sections share.

In: the state (`data`) and keys that are pressed. Out: what is drawn, and changes sent through `paig_client`.

- `page` is the frame of every screen, `section` the base of the sections, `tabbed` that of sections with tabs.
- `dialog` is the base of dialogs, `forms` makes one from a spec; `help` lists every key.

Never true: a change that can neither be undone nor was confirmed; remote text that is parsed as markup.
"""

from __future__ import annotations
