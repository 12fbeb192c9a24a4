"""Run folders by the thousand, from one that was trained."""
