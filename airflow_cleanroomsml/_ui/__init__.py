"""
A page in Airflow's UI about what one task instance has created (Airflow 3.1 and later); ``docs/ui.md`` describes it.

====== =============================================================================================
module purpose
====== =============================================================================================
link   the button on the task instance that leads to the page
plugin Airflow's plugin, which every process of Airflow imports: it hands the page to the API server
page.js the page itself, which reads Airflow's public REST API with the rights of whoever views it
====== =============================================================================================
"""
