"""The report, section by section: each module turns tables of one stage into what the page's template shows."""
