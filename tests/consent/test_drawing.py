from consent.drawing import README, drawn


def test_the_rows_and_the_diagram_in_the_readme_are_those_of_the_rules():
    readme = README.read_text("utf-8")

    assert drawn(readme) == readme, "run `python -m consent.drawing`"


def test_every_row_of_the_contract_is_drawn():
    rows = {line.split("|")[1].strip() for line in README.read_text("utf-8").splitlines() if line.startswith("| ")}

    assert {str(row) for row in range(1, 29)} - rows == {"21"}  # a repeated id meets no rule
